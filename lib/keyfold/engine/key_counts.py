"""Proves keys unique by their hashes: the driver receives eight bytes per row, which is much faster than grouping the keys."""

from collections.abc import Sequence
from functools import partial, reduce
from operator import and_
from typing import NamedTuple

import narwhals as nw
import numpy as np
import pyarrow as pa

from keyfold.core.sql import column_reference
from keyfold.engine.columns import col
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.row_sums import row_hashes

_MOST = 50_000_000  # rows
# Equal values of these types have equal hashes. That is not so for 0.0 and -0.0, and for texts with a collation.
_HASHED = {"bigint", "int", "smallint", "tinyint", "string", "date", "timestamp", "timestamp_ntz", "boolean", "binary", "decimal"}


class HashedKeys(NamedTuple):
    """The number of rows, the number of rows without a key, and whether all keys are known to be unique."""

    rows: int
    missing: int
    unique: bool


def count_keys(rows: Frame, key: Sequence[str], n: int) -> HashedKeys:
    """Counts the keys of `n` rows. A key is missing if one of its columns is NULL. Too many rows are not looked at."""
    types = {rows.types[name].partition("(")[0] for name in key}
    if n > _MOST or not types <= _HASHED:
        return HashedKeys(n, 0, unique=False)
    hashes = rows.select(key).compute(_hash_of(key), []).to_arrow()["h"]
    ordered = np.sort(hashes.drop_null().to_numpy())
    return HashedKeys(len(hashes), hashes.null_count, not (ordered[1:] == ordered[:-1]).any())


def _hash_of(key: Sequence[str]) -> Computed:
    """bigint: a hash of the key, NULL if the key is missing. Spark's hash differs from the kernel's."""
    names = [column_reference(name) for name in key]
    complete = " AND ".join(f"{name} IS NOT NULL" for name in names)
    return Computed({"h": pa.int64()}, partial(_hashes, key), [f"CASE WHEN {complete} THEN xxhash64({', '.join(names)}) END"])


def _hashes(key: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    keys = batch.select(key)
    missing = np.zeros(batch.num_rows, bool)
    for column in keys.columns:
        missing |= column.is_null().to_numpy(zero_copy_only=False)
    return [pa.array(row_hashes(keys), mask=missing)]


def is_complete(key: Sequence[str]) -> nw.Expr:
    """Whether no column of a key is NULL."""
    return reduce(and_, (~col(name).is_null() for name in key))
