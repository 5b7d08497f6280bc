"""Base of the generators: tables drawn block by block, each from its own random stream, so that partitions change no row."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.core.section import Section

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ColumnArrays = dict[str, NDArray[Any]]

_ARROW = {
    "bigint": pa.int64(), "int": pa.int32(), "date": pa.date32(), "string": pa.string(), "double": pa.float64(),
    "boolean": pa.bool_(), "timestamp": pa.timestamp("us", "UTC"),
}  # fmt: skip


class Generator(Section):
    """A generated table; a subclass draws its blocks."""

    seed: int = Field(0, ge=0, lt=2**63, description="Random seed; the same seed gives the same rows.")

    types: ClassVar[Mapping[str, str]]  # Spark types by column
    size: ClassVar[int] = 1_000  # number of things per block
    layouts: ClassVar[Mapping[str, Sequence[str]]] = {}  # columns by layout, for `data.versions`

    @property
    def things(self) -> int:
        """Number of things to draw, such as customers; a thing has any number of rows."""
        raise NotImplementedError

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """The rows of the first `size` things of block `number`."""
        raise NotImplementedError

    def frame(self, spark: "SparkSession", partitions: int | None = None) -> "DataFrame":
        """The table with the columns of `types`; the same rows for any number of partitions (default: Spark's)."""

        def draw_blocks(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
            for number in (n.as_py() for batch in batches for n in batch.column(0)):
                yield self.block(number, min(self.size, self.things - number * self.size))

        blocks = spark.range(0, -(-self.things // self.size), 1, partitions)
        return blocks.mapInArrow(draw_blocks, ", ".join(f"{name} {kind}" for name, kind in self.types.items()))

    def layout(self, spark: "SparkSession", name: str) -> "DataFrame":
        """The rows of one layout, with its columns."""
        raise NotImplementedError


class EventLog(Generator):
    """One row per event. The outcomes of the last day, `end`, are unknown (NULL)."""

    rows: int = Field(200_000, ge=1, le=2**50, description="Number of rows.")
    days: int = Field(28, ge=2, le=10_000, description="Number of days, up to the end.")
    end: str = Field(
        "2026-10-31",
        pattern=r"^[1-9]\d{3}-\d\d-\d\d$",
        examples=["2026-10-31"],
        description="Last day; its outcomes are unknown (NULL).",
    )

    @field_validator("end")
    @classmethod
    def _is_a_day(cls, end: str) -> str:
        date.fromisoformat(end)
        return end

    @property
    def things(self) -> int:
        """The number of rows."""
        return self.rows

    def days_of(self, rng: np.random.Generator) -> tuple[NDArray[np.datetime64], Bools]:
        """The day of each event of a block, and whether it is the last day."""
        ago = rng.integers(0, self.days, self.size)
        return np.datetime64(self.end, "D") - ago, ago == 0


def random_stream(*key: int) -> np.random.Generator:
    """The random stream of one key, or of a seed and a block number."""
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64) if len(key) > 1 else key[0]))


def schema_of(types: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of columns whose types have Spark's names."""
    return pa.schema([(name, _ARROW[kind]) for name, kind in types.items()])


def as_arrow(
    schema: pa.Schema, columns: ColumnArrays, names: Mapping[str, list[str]], unknown: Mapping[str, Bools]
) -> pa.RecordBatch:
    """Columns as Arrow. A text column has integer codes of its `names`; `unknown` values become NULL."""

    def array(field: pa.Field) -> pa.Array:
        if field.type == pa.string():
            return pa.array(names[field.name]).take(pa.array(columns[field.name]))
        return pa.array(columns[field.name], field.type, mask=unknown.get(field.name))

    return pa.record_batch([array(field) for field in schema], schema=schema)


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
