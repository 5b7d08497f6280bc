"""Hashes of keys: copies of one content have one hash."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.core.names import CONTENT
from keyfold.core.row_hash import arrow_key_hash, without_copy
from keyfold.errors import DataError

DIGESTS = st.text("0123456789abcdef", min_size=32, max_size=32)


@settings(max_examples=20)
@given(st.lists(DIGESTS, min_size=1, max_size=3), st.integers(0, 10**9))
def test_copies_of_a_content_have_the_hash_of_the_first(digests, copy):
    first = pa.table({CONTENT: [f"{digest}-0" for digest in digests]})
    copies = pa.table({CONTENT: [f"{digest}-{copy}" for digest in digests]})
    hashes = arrow_key_hash(first, [CONTENT], "s", without_copy)
    assert (hashes == arrow_key_hash(copies, [CONTENT], "s", without_copy)).all()
    assert copy == 0 or (arrow_key_hash(first, [CONTENT], "s") != arrow_key_hash(copies, [CONTENT], "s")).all()


@settings(max_examples=30)
@given(st.text(max_size=9))
def test_other_texts_and_other_columns_keep_their_value(text):
    texts = pa.array([text, "0" * 32 + "-1"])
    assert without_copy("id", texts) is texts
    assert without_copy(CONTENT, texts).to_pylist() == [text, "0" * 32]


def test_chunks_rows_and_salts():
    whole = pa.table({"id": [1, 2, 3], "t": ["a", None, "c"]})
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    hashes = arrow_key_hash(whole, ["id", "t"], "s")
    assert (arrow_key_hash(chunked, ["id", "t"], "s") == hashes).all() and len({*hashes.tolist()}) == 3
    assert (arrow_key_hash(whole, ["id", "t"], "other") != hashes).all()
    assert (arrow_key_hash(whole, ["t", "id"], "s") != hashes).all()


def test_a_double_is_no_key():
    with pytest.raises(DataError, match=r"a key or split by `x`.*round it, or choose another column"):
        arrow_key_hash(pa.table({"x": [0.5]}), ["x"], "s")
