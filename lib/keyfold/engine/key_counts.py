"""Proves keys unique by their hashes, of which the driver gets eight bytes a row: a fraction of what grouping the keys takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keyfold.core.sql import col
from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_MOST = 50_000_000  # rows
# Equal values of these types have equal hashes; 0.0 and -0.0 do not, nor do texts that a collation takes for equal.
_HASHED = {"bigint", "int", "smallint", "tinyint", "string", "date", "timestamp", "timestamp_ntz", "boolean", "binary", "decimal"}


class HashedKeys(NamedTuple):
    """Numbers of rows and of rows without a key, and whether all keys are known to be unique."""

    rows: int
    missing: int
    unique: bool


def count_keys(rows: "DataFrame", key: Sequence[str], n: int) -> HashedKeys:
    """Looks at the keys of `n` rows; a key is missing if one of its columns is NULL. Of too many rows nothing is known."""
    types = {rows.schema[name].dataType.simpleString().partition("(")[0] for name in key}
    if n > _MOST or not types <= _HASHED:
        return HashedKeys(n, 0, unique=False)
    hashes = rows.select(F.when(is_complete(key), F.xxhash64(*map(col, key))).alias("h")).toArrow()["h"]
    ordered = np.sort(hashes.drop_null().to_numpy())
    return HashedKeys(len(hashes), hashes.null_count, not (ordered[1:] == ordered[:-1]).any())


def is_complete(key: Sequence[str]) -> "Column":
    """Whether no column of a key is NULL."""
    complete = col(key[0]).isNotNull()
    for name in key[1:]:
        complete = complete & col(name).isNotNull()
    return complete
