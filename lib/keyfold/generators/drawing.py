"""Random draws and their columns, which the generators share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from keyfold.core.arrays import Bools, Doubles, Int64s

ColumnArrays = dict[str, NDArray[Any] | pa.Array]  # text columns are Arrow arrays

_ARROW = {
    "bigint": pa.int64(), "int": pa.int32(), "date": pa.date32(), "string": pa.string(), "double": pa.float64(),
    "boolean": pa.bool_(), "timestamp": pa.timestamp("us", "UTC"),
}  # fmt: skip


def random_stream(*key: int) -> np.random.Generator:
    """The random stream of one key, or of a seed and a block number."""
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64) if len(key) > 1 else key[0]))


def schema_of(types: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of columns whose types have Spark's names."""
    return pa.schema([(name, _ARROW[kind]) for name, kind in types.items()])


def as_arrow(schema: pa.Schema, columns: ColumnArrays, unknown: Mapping[str, Bools]) -> pa.RecordBatch:
    """Columns as Arrow; `unknown` values become NULL."""
    return pa.record_batch([_column(field.type, columns[field.name], unknown.get(field.name)) for field in schema], schema=schema)


def _column(type_: pa.DataType, values: Any, unknown: Bools | None) -> pa.Array:
    if type_ != pa.string():
        return pa.array(values, type_, mask=unknown)
    return values if unknown is None else pc.if_else(pa.array(unknown), None, values)


def texts(names: list[str], codes: Int64s) -> pa.Array:
    """The names of codes."""
    return pa.array(names).take(pa.array(codes))


def joined_texts(codes: Int64s, lengths: Int64s, names: list[str], separator: str = " ") -> pa.Array:
    """One text per row: the names of its codes. codes: those of all rows; lengths: how many each row has."""
    offsets = pa.array(np.append(0, np.cumsum(lengths)).astype(np.int32))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts(names, codes)), separator)


def cumulative_shares(weights: ArrayLike) -> Doubles:
    """Cumulative shares for `draw`, of weights that are 0 or more."""
    weighed = np.asarray(weights, np.float64)
    return np.cumsum(weighed) / weighed.sum()


def draw(rng: np.random.Generator, cdf: Doubles, n: int) -> Int64s:
    """n integers in [0, len(cdf)), distributed by cumulative shares."""
    # A sum of shares may end just below 1.
    return np.minimum(np.searchsorted(cdf, rng.random(n), "right"), len(cdf) - 1)


def sparse_ids(numbers: Int64s) -> Int64s:
    """Unique ids by a bijection of 54 bits; half of them exceed 2^53, where a double loses the last bit."""
    x, low = numbers.astype(np.uint64), np.uint64(2**54 - 1)
    for odd in (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03):
        x = x * np.uint64(odd) & low
        x ^= x >> np.uint64(29)
    return x.astype(np.int64)


def chance(log_odds: Doubles) -> Doubles:
    """Probabilities of log-odds, rounded to six digits, so that the written probability is the one drawn with."""
    return np.round(1 / (1 + np.exp(-log_odds)), 6)


def crossing(rng: np.random.Generator, rows: int, columns: int, strength: float) -> Doubles:
    """Interaction effects, log-odds (rows, columns), whose means by row and by column are 0."""
    drawn = rng.standard_normal((rows, columns))
    return strength * (drawn - drawn.mean(0) - drawn.mean(1, keepdims=True) + drawn.mean())
