"""Keys from the content of rows: equal rows are numbered, and the order of columns does not matter."""

import hashlib
import json
from itertools import chain, pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.core.json_texts import row_jsons
from keyfold.core.names import CONTENT, PERIOD, RAW, REASON
from keyfold.errors import PromiseError
from keyfold.ingestion import content_keys
from keyfold.ingestion.content_keys import add_content_key, content_texts

AS_SPARK = """CASE WHEN reason IS NULL THEN
    to_json(map_from_entries(array_sort(map_entries(from_json(raw, 'map<string,string>')))), map('ignoreNullFields', 'false')) ELSE raw END"""
ODD = ["", "a", 'q"', "\\", "\x0b\x1f\x7f", "é\u2028👩", "{", "a,b", "}:", "null", "[1]"]


def test_content_is_that_of_spark(spark):
    """Names and text that JSON escapes, numbers, nested values and NULL."""
    nested = pa.array([{"x": [1.5, None], 'y"': "}"}, None] * 6)[: len(ODD)]
    numbers = pa.array([1e22, -0.0, 1e-5, float("nan"), None, 5.0, 1.0, 2.0, 3.0, 4.0, 0.1])
    columns = {name: pa.array([*ODD[i:], *ODD[:i]]) for i, name in enumerate(ODD)} | {
        "b": numbers,
        "é": nested,
        "Z": pa.array([None, True] * 5 + [False]),
    }
    rows = pa.RecordBatch.from_pydict(columns)
    raws = [text for n in (1, 3, 14) for text in row_jsons(rows, rows.schema.names[-n:], exact=True).to_pylist()]
    frame = spark.createDataFrame([(raw, None) for raw in raws] + [("broken", "x")], "raw string, reason string")
    wanted = [row[0] for row in frame.selectExpr(AS_SPARK).collect()]
    assert [*content_texts(pa.array(raws)).to_pylist(), "broken"] == wanted
    parts = [content_texts(pa.array(raws[i : i + len(ODD)])).to_pylist() for i in range(0, len(raws), len(ODD))]
    assert [*chain(*parts), "broken"] == wanted, "also rows of the same columns"


@given(
    st.dictionaries(st.text(), st.none() | st.text() | st.integers() | st.lists(st.text(max_size=2), max_size=2), max_size=5),
    st.randoms(),
)
def test_content_does_not_depend_on_the_order_of_columns(row, order):
    rows = [{name: row[name] for name in order.sample([*row], len(row))} for _ in range(2)]
    texts = [json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in rows]
    alone = content_texts(pa.array(texts)).to_pylist()
    assert alone[0] == alone[1] and [*json.loads(alone[0])] == sorted(row)
    assert content_texts(pa.array([*texts, "{}", '{"x":1}'])).to_pylist() == [*alone, "{}", '{"x":"1"}']


def test_equal_rows_of_a_period_are_numbered(engine):
    raws = ['{"a":"1"}', '{"a":"2"}', '{"a":"1"}', '{"a":"1"}', "odd", "odd"]
    periods, reasons = ["x", "x", "y", "x", None, None], [None, None, None, None, "bad", "bad"]
    rows = engine.rows([*zip(raws, periods, reasons, strict=True)], f"{RAW} string, {PERIOD} string, {REASON} string")
    keyed = add_content_key(rows)
    assert keyed.columns == [CONTENT, RAW, PERIOD, REASON]
    digest = {raw: hashlib.sha256(raw.encode()).hexdigest()[:32] for raw in raws}
    found = sorted((row[CONTENT], row[PERIOD]) for row in keyed.rows() if row[PERIOD])
    one, two = digest[raws[0]], digest[raws[1]]
    assert found == sorted([(f"{one}-1", "x"), (f"{one}-2", "x"), (f"{two}-1", "x"), (f"{one}-1", "y")])
    assert sorted(row[CONTENT] for row in keyed.rows() if row[PERIOD] is None) == [f"{digest['odd']}-{i}" for i in (1, 2)]


@given(st.lists(st.sampled_from("abc"), max_size=30).map(sorted), st.lists(st.integers(0, 30)))
def test_copies_are_numbered_across_batches_and_only_in_order(digests, cuts):
    def numbered(digests):
        rows = pa.RecordBatch.from_pydict(
            {PERIOD: pa.array([None] * len(digests), pa.string()), content_keys._DIGEST: pa.array(digests, pa.string())}
        )
        edges = [0, *sorted(cuts), len(digests)]
        batches = (rows.slice(a, max(b - a, 0)) for a, b in pairwise(edges))
        return [key for batch in content_keys._NumberCopies([])(batches) for key in batch[CONTENT].to_pylist()]

    assert numbered(digests) == [f"{d}-{digests[:i].count(d) + 1}" for i, d in enumerate(digests)]
    if len({*digests}) > 1:
        with pytest.raises(PromiseError):
            numbered(digests[::-1])
