"""Hashes of keys and rows are the same on every engine and in Arrow."""

import datetime as dt
import itertools
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from keyfold.core import hashing
from keyfold.core.names import CONTENT
from keyfold.core.row_hash import arrow_key_hash, arrow_row_hash
from keyfold.core.types import ArrowValue, arrow_family
from keyfold.engine.hashes import key_hash, row_hash, sample_place
from keyfold.errors import DataError

pytestmark = pytest.mark.both_engines

WIDE = [Decimal(d) for d in ("1.28", "0", "1E20", "-1.28", "1.27", "-1E35", "99999999999999999999.99")]
VALUES = {
    "whole": pa.array([1, -5, 2**62, 0, 42, 7, -(2**63)], pa.int64()),
    "small": pa.array([1, -5, 2**31 - 1, 0, 42, 7, -(2**31)], pa.int32()),
    "tiny": pa.array([1, -5, 127, 0, 42, 7, -128], pa.int8()),
    "flag": pa.array([True, False] * 3 + [True]),
    "x": pa.array([0.0, -0.0, math.nan, math.inf, 5e-324, 1.5, -1.5]),
    "short": pa.array([0.0, -0.0, math.nan, math.inf, 1e-45, 1.5, -1.5], pa.float32()),
    "cents": pa.array([Decimal(d) for d in ("0", "-0.01", "1.5", "-7", "9999999.99", "0.1", "2")], pa.decimal128(9, 2)),
    "wide": pa.array(WIDE, pa.decimal128(38, 2)),
    "text": ["", "a", "é", "x" * 31, "x" * 32, "x" * 90, "\0"],
    "bytes": pa.array([b"", b"a", b"\0", b"\xff" * 31, b"x" * 32, b"x" * 90, b"\n"]),
    "day": pa.array([dt.date(1, 1, 1), dt.date(1970, 1, 1), *[dt.date(2026, 1, 1 + i) for i in range(5)]]),
    "at": pa.array([-1, 0, 1, 10**15, -(10**15), 7, 8], pa.timestamp("us", "UTC")),
}


def test_a_row_is_hashed_alike_whatever_its_columns(engine):
    table = pa.table(
        {name: pa.concat_arrays([pa.array(values), pa.nulls(1, pa.array(values).type)]) for name, values in VALUES.items()}
    )
    frame = engine.frame(table)
    for name in VALUES:
        frame = frame.compute(row_hash(f"hash of {name}", [name]))
    found = frame.compute(row_hash("all", [*VALUES])).to_arrow()
    for name in VALUES:
        assert np.array_equal(found[f"hash of {name}"], arrow_row_hash([table[name].combine_chunks()])), name
    assert np.array_equal(found["all"], arrow_row_hash([column.combine_chunks() for column in table.columns]))
    for name in ("x", "short"):
        assert found[f"hash of {name}"][0] == found[f"hash of {name}"][1], "-0.0 is 0.0"


def test_a_row_is_hashed_with_its_order_and_its_gaps():
    cells = [*itertools.product([None, 0, 1, 42], repeat=3)]
    hashes = arrow_row_hash([pa.array(column, pa.int64()) for column in zip(*cells, strict=True)])
    assert len(set(hashes.tolist())) == len(cells)


def test_keys_have_places(engine):
    copies = ["0" * 32 + f"-{i}" for i in range(3)]  # each has a place of its own
    table = pa.table({"id": [1, 1, None], "x": ["a", "a", "b"], CONTENT: copies})
    frame = engine.frame(table).compute(key_hash("h", engine.frame(table).types, ["id", "x", CONTENT], "s"))
    frame = frame.compute(sample_place("place", frame.types, ["id", "x", CONTENT], "s"))
    wanted = hashing.feature_hash(
        "s", [ArrowValue(table[c].combine_chunks(), arrow_family(table[c].type)).hash for c in table.column_names]
    )
    assert np.array_equal(wanted, arrow_key_hash(table, ["id", "x", CONTENT], "s")) and len({*wanted.tolist()}) == 3
    assert [(row["h"], row["place"]) for row in frame.rows()] == [
        *zip(wanted.tolist(), hashing.reduce(wanted, 10**6).tolist(), strict=True)
    ]
    with pytest.raises(DataError, match=r"a key or split by `x`.*got double"):
        key_hash("h", {"x": "double"}, ["x"], "s")
