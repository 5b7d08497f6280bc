"""What features must know of the training rows: all numbers in one aggregation, all counts in one further pass.

Statistics are one long table (`of`, `value`, `amount`), uncut, so that those of two sets of rows add up to those of both:
`merged` of a month's statistics and the former ones gives what fitting on all rows would.
"""

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold import exact, sql
from keyfold.errors import DataError
from keyfold.spark import set_for_now
from keyfold.values import SqlValue

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Stats = Mapping[str, Any]
SCHEMA = pa.schema({"of": pa.string(), "value": pa.string(), "amount": pa.int64()})
_MEMORY = 1 << 28  # bytes of rows that a worker holds to count them
# Spark measures a batch after each row of it, which takes as long as to write it; so few rows need no such limit.
TO_WORKERS = {
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
    "spark.sql.execution.arrow.maxRecordsPerBatch": "16384",
    "spark.sql.execution.pandas.udf.buffer.size": str(1 << 20),
}
_ROUND = 2.0**45 + 1  # Veltkamp's constant: leaves 8 binary digits of a double


class Counted(NamedTuple):
    """An SQL expression of text, bigint or double, whose values are counted (NULL is not); or, with `parts`, those of each text."""

    expression: str
    parts: Callable[[str], Sequence[str]] | None = None  # travels to the workers; its `repr` tells it from others

    @property
    def name(self) -> str:
        """Its name in statistics."""
        return self.expression if self.parts is None else f"{self.parts} of {self.expression}"


class Target(NamedTuple):
    """SQL expressions over training rows: whether the label is the positive class; the part of a row, bigint in [0, 1,000,000)."""

    positive: str
    part: str


class Measured(NamedTuple):
    """What is known for one feature.

    Of each input its `family` and (if asked) count, min, max, mean, deviation, or the `width` of a feature; and of each counted
    expression the counts, a table of `value` and `amount`.
    """

    inputs: Sequence[Stats]
    counts: Sequence[pa.Table]


def measure(frame: "DataFrame", numbers: Mapping[str, SqlValue], counted: Sequence[Counted]) -> pa.Table:
    """The statistics of the rows of a frame, in as many passes as `passes` says."""
    tables = [SCHEMA.empty_table()]
    if numbers:
        tables.append(_numbers(frame, numbers))
    if counted:
        tables.append(_counts(frame, list(dict.fromkeys(counted))))
    return pa.concat_tables(tables)


def passes(numbers: Mapping[str, Any], counted: Sequence[Counted]) -> int:
    """How often fitting reads the rows."""
    return bool(numbers) + bool(counted)


def merged(statistics: Sequence[pa.Table]) -> pa.Table:
    """The statistics of all rows, of those of parts of them."""
    table = pa.concat_tables([SCHEMA.empty_table(), *statistics])
    extreme = pc.is_in(table["value"], pa.array(["min", "max"]))
    extreme = pc.and_(extreme, pc.starts_with(table["of"], _NUMBERS))
    sums = table.filter(pc.invert(extreme)).group_by(["of", "value"]).aggregate([("amount", "sum")])
    parts = [sums.rename_columns(["of", "value", "amount"]).select(SCHEMA.names).cast(SCHEMA)]
    for name, choose in (("min", min), ("max", max)):
        rows = table.filter(pc.and_(extreme, pc.equal(table["value"], name))).to_pylist()
        best: dict[str, float] = {}
        for row in rows:
            x = _double(row["amount"])
            best[row["of"]] = choose(best.get(row["of"], x), x)
        parts.append(
            pa.table({"of": list(best), "value": [name] * len(best), "amount": [_bits(x) for x in best.values()]}, SCHEMA)
        )
    return pa.concat_tables(parts)


class Statistics:
    """A table of statistics, to be asked by column and by expression."""

    def __init__(self, table: pa.Table) -> None:
        table = table.combine_chunks()
        encoded = table["of"].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(encoded.dictionary)), side="right")
        starts = np.concatenate([[0], ends])[:-1]
        self._sorted = table.select(["value", "amount"]).take(pa.array(order))
        self._at = {of: (s, e - s) for of, s, e in zip(encoded.dictionary.to_pylist(), starts, ends, strict=True)}

    def counts(self, counted: Counted) -> pa.Table:
        """`value` and `amount`, in no order."""
        return self._sorted.slice(*self._at.get(counted.name, (0, 0)))

    def numbers(self, column: str) -> dict[str, Any]:
        """count, min, max, mean, deviation (DataError for numbers that are too large to be summed)."""
        found = self._sorted.slice(*self._at.get(_NUMBERS + column, (0, 0)))
        row = dict(zip(found["value"].to_pylist(), found["amount"].to_pylist(), strict=True))
        if not (count := row.get("count", 0)):
            return {"count": 0}
        low, high = _double(row["min"]), _double(row["max"])
        if max(abs(low), abs(high)) >= exact.LIMIT:
            raise DataError(f"column `{column}` holds {low:g} to {high:g}; numbers must be below 2^62 in size to be fitted")
        mean = exact.total(row, "x", exact.SUM) / count
        variance = exact.total(row, "xx", exact.SQUARES) / count - mean**2
        deviation = math.sqrt(max(0.0, float(variance))) if high > low else 0.0
        return {"count": count, "min": low, "max": high, "mean": float(mean), "deviation": deviation}


_NUMBERS = "numbers of "


def _numbers(frame: "DataFrame", values: Mapping[str, SqlValue]) -> pa.Table:
    from pyspark.sql import functions as F

    names = {column: str(i) for i, column in enumerate(values)}
    plain = frame.select(*(sql.column(value.number).alias(names[c]) for c, value in values.items()))
    limbs: dict[str, tuple[Column, Any]] = {}
    aggregates: dict[str, Column] = {}
    for name in names.values():
        x = F.col(name)
        inside = F.when(F.abs(x) < exact.LIMIT, x)
        limbs |= {f"{name}:x": (inside, exact.SUM), f"{name}:xx": (inside * inside, exact.SQUARES)}
        aggregates |= {f"{name}:count": F.count(x), f"{name}:min": F.min(x), f"{name}:max": F.max(x)}
        aggregates |= exact.sums(f"{name}:x", exact.SUM) | exact.sums(f"{name}:xx", exact.SQUARES)
    row = exact.with_limbs(plain, limbs).agg(*(a.alias(n) for n, a in aggregates.items())).collect()[0].asDict()
    of = {name: _NUMBERS + column for column, name in names.items()}
    cells = [(of[key.split(":", 1)[0]], key.split(":", 1)[1], amount) for key, amount in row.items() if amount is not None]
    return pa.table(
        {
            "of": [cell[0] for cell in cells],
            "value": [cell[1] for cell in cells],
            "amount": [_bits(cell[2]) if cell[1] in ("min", "max") else cell[2] for cell in cells],
        },
        SCHEMA,
    )


def _bits(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def _counts(frame: "DataFrame", counted: Sequence[Counted]) -> pa.Table:
    # Arrow groups text about ten times as fast as Spark's aggregate with a key of text; Spark adds up what the tasks found.
    columns = {expression: str(i) for i, expression in enumerate(dict.fromkeys(c.expression for c in counted))}
    taken = frame.select(*(sql.column(expression).alias(name) for expression, name in columns.items()))
    parts = [(columns[c.expression], c.parts) for c in counted]
    partly = taken.mapInArrow(partial(_partial_counts, parts), "i int, value string, amount bigint")
    with set_for_now(frame.sparkSession, TO_WORKERS):
        found = partly.groupBy("i", "value").sum("amount").toArrow().rename_columns(["i", "value", "amount"])
    names = pa.array([c.name for c in counted], pa.string())
    return pa.table({"of": names.take(found["i"].combine_chunks()), "value": found["value"], "amount": found["amount"]}, SCHEMA)


def _partial_counts(
    counted: Sequence[tuple[str, Callable[[str], Sequence[str]] | None]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """On a worker: the counts of some batches at a time."""
    for some in _held(batches):
        for name in some.column_names:
            # Not `group_by`, whose hash takes 200 times as long for doubles whose last bits are 0.
            values, amounts = pc.value_counts(some[name].drop_null()).flatten()
            values = _texts(values)
            for i, (column, parts) in enumerate(counted):
                if column == name:
                    yield _cells(i, *((values, amounts) if parts is None else _of_parts(values, amounts, parts)))


def _held(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size > _MEMORY:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _texts(values: pa.Array) -> pa.Array:
    # Python's text of a double is the shortest that gives it again.
    return pa.array(map(repr, values.to_pylist()), pa.string()) if pa.types.is_float64(values.type) else values.cast(pa.string())


def _of_parts(values: pa.Array, amounts: pa.Array, parts: Callable[[str], Sequence[str]]) -> tuple[pa.Array, pa.Array]:
    found = [parts(text) for text in values.to_pylist()]
    each = pa.array([part for some in found for part in some], pa.string())
    times = np.repeat(amounts.to_numpy(), [len(some) for some in found])
    counts = pa.table({"value": each, "amount": times}).group_by("value", use_threads=False).aggregate([("amount", "sum")])
    return counts["value"].combine_chunks(), counts["amount_sum"].combine_chunks()


def _cells(i: int, values: pa.Array, amounts: pa.Array) -> pa.RecordBatch:
    which = pa.array(np.full(len(values), i, np.int32))
    return pa.record_batch({"i": which, "value": values, "amount": amounts.cast(pa.int64())})


def ranked(counts: pa.Table, min_frequency: int = 1, most: int | None = None) -> list[str]:
    """The values that are frequent enough, most frequent first, ties by their UTF-8 bytes."""
    kept = counts.filter(pc.greater_equal(counts["amount"], min_frequency))
    kept = kept.sort_by([("amount", "descending"), ("value", "ascending")])
    return kept["value"].slice(0, most).to_pylist()  # type: ignore[no-any-return]


def coarse(number: str) -> Counted:
    """Counts of numbers rounded to 8 binary digits, by arithmetic that every engine does alike; small integers stay exact."""
    x, k = f"({number})", sql.double(_ROUND)
    rounded = f"{x} * {k} - ({x} * {k} - {x})"
    return Counted(f"CASE WHEN abs({x}) < {sql.double(exact.LIMIT)} THEN {rounded} + 0.0D END")


def quantiles(counts: pa.Table, shares: Sequence[float]) -> list[float]:
    """For each share the smallest number that at least this share of the numbers is not above."""
    values = np.array([float(v) for v in counts["value"].to_pylist()])
    order = np.argsort(values)
    reached = np.cumsum(counts["amount"].to_numpy()[order])
    at = np.searchsorted(reached, np.ceil(np.array(shares) * reached[-1]), side="left")
    return [float(values[order][min(i, len(order) - 1)]) for i in at]
