"""Sums of the hashes of rows, to compare two versions of a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Int64s
from keyfold.core.digests import canonical_json
from keyfold.core.hashing import feature_hash, value_hash
from keyfold.engine.columns import col
from keyfold.engine.frame import Batches, Frame

_HALF = np.uint64(32)


def row_sums(rows: Frame, column: str) -> dict[Any, tuple[int, int, int]]:
    """For each value of a text column: the sums of both halves of the row hashes, and the number of rows.

    A hash covers NULLs and the names and order of the columns.
    """
    types = {"value": pa.string(), "low": pa.int64(), "high": pa.int64(), "n": pa.int64()}
    sums = rows.map_batches(_RowSums(column), types)
    added = sums.group(["value"], **{name: col(name).sum() for name in ("low", "high", "n")}).rows()
    return {row["value"]: (row["low"], row["high"], row["n"]) for row in added}


@dataclass(frozen=True)
class _RowSums:
    column: str

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if not batch.num_rows:
                continue
            hashes = row_hashes(batch).view(np.uint64)
            values = batch.column(self.column).cast(pa.string())
            low, high = ((hashes << _HALF) >> _HALF).view(np.int64), (hashes >> _HALF).view(np.int64)
            sums = pa.table({"value": values, "low": low, "high": high}).group_by("value", use_threads=False)
            columns = ["value", "low_sum", "high_sum", "low_count"]
            summed = sums.aggregate([("low", "sum"), ("high", "sum"), ("low", "count")]).select(columns)
            yield from summed.rename_columns(["value", "low", "high", "n"]).combine_chunks().to_batches()


def row_hashes(batch: pa.RecordBatch) -> Int64s:
    """A hash of each row."""
    return feature_hash(canonical_json(batch.schema.names), [value_hash(_cells(column)) for column in batch.columns])


def _cells(array: pa.Array) -> pa.Array:
    """The cells as text, binary or int64."""
    t = pa.types
    if t.is_floating(array.type):
        bits = array.cast(pa.float64()).fill_null(0).to_numpy(zero_copy_only=False).view(np.int64)
        return pa.array(bits, mask=array.is_null().to_numpy(zero_copy_only=False))
    if t.is_timestamp(array.type) or t.is_integer(array.type) or t.is_boolean(array.type):
        return array.cast(pa.int64())
    if t.is_date32(array.type):
        return array.cast(pa.int32()).cast(pa.int64())
    if t.is_string(array.type) or t.is_large_string(array.type) or t.is_binary(array.type) or t.is_null(array.type):
        return array
    if t.is_decimal(array.type):
        return pc.cast(array, pa.string())
    return pa.array([None if cell is None else repr(cell) for cell in array.to_pylist()], pa.string())
