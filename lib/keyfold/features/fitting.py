"""What features must know of the training rows: the statistics of numbers and the counts of values, in one pass.

Statistics are one long table (`of`, `value`, `amount`), uncut, so that those of two sets of rows add up to those of both:
`merged` of a month's statistics and the former ones gives what fitting on all rows would. Python workers measure Arrow batches;
Spark moves the rows and adds up what the workers found.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import exact_sums, quantiles, sql
from keyfold.core.types import ArrowValue, SqlValue
from keyfold.engine import functions as F
from keyfold.engine.session import temporary_settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Stats = Mapping[str, Any]
STATISTICS_SCHEMA = pa.schema({"of": pa.string(), "value": pa.string(), "amount": pa.int64()})
STATISTICS_VERSION = 2  # of what statistics are; those of other versions are not added to these
_MEMORY = 1 << 28  # bytes of rows that a worker holds to count them
# Spark measures a batch after each row of it, which takes as long as to write it; so few rows need no such limit.
ARROW_SETTINGS = {
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
    "spark.sql.execution.arrow.maxRecordsPerBatch": "16384",
    "spark.sql.execution.pandas.udf.buffer.size": str(1 << 20),
}


class CountedExpression(NamedTuple):
    """An SQL expression of text, bigint or double, whose values are counted (NULL is not).

    With `parts` those of each text are, and with `cut` doubles are cut to as many digits as quantiles need.
    """

    expression: str
    parts: Callable[[str], Sequence[str]] | None = None  # travels to the workers; its `repr` tells it from others
    cut: bool = False

    @property
    def name(self) -> str:
        """Its name in statistics."""
        if self.cut:
            return _CUT + self.expression
        return self.expression if self.parts is None else f"{self.parts} of {self.expression}"


class Target(NamedTuple):
    """SQL expressions over training rows: whether the label is the positive class; the part of a row, bigint in [0, 1,000,000)."""

    positive: str
    part: str


class FeatureStatistics(NamedTuple):
    """What is known for one feature.

    Of each input its `family` and (if asked) what `Statistics.numbers` tells, or the `width` of a feature; and of each counted
    expression the counts, a table of `value` (doubles where they are cut) and `amount`.
    """

    inputs: Sequence[Stats]
    counts: Sequence[pa.Table]


def measure_statistics(frame: "DataFrame", numbers: Mapping[str, SqlValue], counted: Sequence[CountedExpression]) -> pa.Table:
    """The statistics of the rows of a frame, in one pass."""
    if not numbers and not counted:
        return STATISTICS_SCHEMA.empty_table()
    counted = list(dict.fromkeys(counted))
    taken = [(value.number, value.column, value.family) for value in numbers.values()]
    names = [*(_NUMBERS + column for column in numbers), *(c.name for c in counted)]
    expressions = [*(e for number, raw, _ in taken for e in (number, raw)), *(c.expression for c in counted)]
    columns = {expression: str(i) for i, expression in enumerate(dict.fromkeys(expressions))}
    asked = _Asked(
        [(columns[number], columns[raw], family) for number, raw, family in taken],
        [(columns[c.expression], c.parts, c.cut) for c in counted],
    )
    rows = frame.select(*(sql.column(expression).alias(name) for expression, name in columns.items()))
    # Arrow groups text about ten times as fast as Spark's aggregate with a key of text; Spark adds up what the tasks found.
    partly = rows.mapInArrow(partial(_partial, asked), "i int, value string, amount bigint")
    with temporary_settings(frame.sparkSession, ARROW_SETTINGS):
        found = sum_cells(
            partly, "i", F.col("i").isin([i for i, name in enumerate(names) if name.startswith(_EXTREME)])
        ).toArrow()
    return pa.table(
        [pa.array(names, pa.string()).take(found["i"].combine_chunks()), *found.columns[1:]], schema=STATISTICS_SCHEMA
    )


_NUMBERS, _CUT = _EXTREME = "numbers of ", "cut numbers of "
# Amounts are summed over parts, but for these of numbers, which are ordered as integers.
_LOWEST, _HIGHEST = ("min", "lowest hash", "digits"), ("max", "highest hash")


def merge_statistics(statistics: Sequence[pa.Table]) -> pa.Table:
    """The statistics of all rows, of those of parts of them."""
    table = pa.concat_tables([STATISTICS_SCHEMA.empty_table(), *statistics])
    some = pc.or_(*(pc.starts_with(table["of"], name) for name in _EXTREME))
    low, high = (pc.and_(some, pc.is_in(table["value"], pa.array(values))) for values in (_LOWEST, _HIGHEST))
    parts = {"min": low, "max": high, "sum": pc.invert(pc.or_(low, high))}
    return pa.concat_tables([_grouped(table.filter(rows), how) for how, rows in parts.items()])


def sum_cells(cells: "DataFrame", key: str, some: "Column") -> "DataFrame":
    """As `merged`, by Spark: of counts there may be many. `cells`: a key, `value`, `amount`; `some`: which may be extremes."""
    low, high = (some & F.col("value").isin(*values) for values in (_LOWEST, _HIGHEST))
    amount = F.when(low, F.min("amount")).when(high, F.max("amount")).otherwise(F.try_sum("amount"))
    return cells.groupBy(key, "value").agg(amount.alias("amount"))


def is_extreme() -> "Column":
    """Which rows of a table of statistics may be extremes."""
    first, second = (F.col("of").startswith(name) for name in _EXTREME)
    return first | second


def _grouped(table: pa.Table, how: str) -> pa.Table:
    found = table.group_by(["of", "value"]).aggregate([("amount", how)])
    return found.rename_columns(["of", "value", "amount"]).cast(STATISTICS_SCHEMA)


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

    def counts(self, counted: CountedExpression) -> pa.Table:
        """`value` and `amount`, in no order."""
        found = self._sorted.slice(*self._at.get(counted.name, (0, 0)))
        if not counted.cut or not found.num_rows:
            return found
        whole = dict(zip(found["value"].to_pylist(), found["amount"].to_pylist(), strict=True))
        digits = whole.pop("digits")
        values, amounts, _ = quantiles.shorten_counts(np.array(list(map(float, whole))), np.array(list(whole.values())), digits)
        return pa.table({"value": values, "amount": amounts})

    def numbers(self, column: str) -> dict[str, Any]:
        """count; min, max, mean, deviation as doubles; whether the column `varies`, though its doubles may not."""
        found = self._sorted.slice(*self._at.get(_NUMBERS + column, (0, 0)))
        row: dict[str, int] = dict(zip(found["value"].to_pylist(), found["amount"].to_pylist(), strict=True))
        if not (count := row.get("count", 0)):
            return {"count": 0}
        mean = exact_sums.exact_total(row, "x") / count
        variance = exact_sums.exact_total(row, "xx") / count - mean**2
        return {
            "count": count,
            "min": _double(row["min"]),
            "max": _double(row["max"]),
            "mean": float(mean),
            "deviation": exact_sums.rounded_sqrt(variance),
            "varies": row["min"] < row["max"] or row.get("lowest hash", 0) < row.get("highest hash", 0),
        }


def _integer(x: float) -> int:
    """An integer of 64 bits for a double, in the same order."""
    bits = int(np.float64(abs(x)).view(np.int64))
    return -bits if x < 0 else bits


def _double(integer: int) -> float:
    size = float(np.int64(abs(integer)).view(np.float64))
    return -size if integer < 0 else size


# --- on a worker ---


class _Asked(NamedTuple):
    """Columns by name: of numbers (as a double, as it is, its family), and those whose values are counted (with `parts`, `cut`)."""

    numbers: Sequence[tuple[str, str, str]]
    counted: Sequence[tuple[str, Callable[[str], Sequence[str]] | None, bool]]


def _partial(asked: _Asked, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The statistics of some batches at a time."""
    for some in _held(batches):
        for i, (number, raw, family) in enumerate(asked.numbers):
            cells = _numbers(some[number], some[raw], family)
            yield _cells(i, pa.array(cells, pa.string()), pa.array(cells.values(), pa.int64()))
        known: dict[str, tuple[pa.Array, pa.Array]] = {}
        for i, (column, parts, cut) in enumerate(asked.counted, len(asked.numbers)):
            if cut:
                yield _cells(i, *_cut(some[column]))
                continue
            if column not in known:
                # Not `group_by`, whose hash takes 200 times as long for doubles whose last bits are 0.
                values, amounts = pc.value_counts(some[column].drop_null()).flatten()
                known[column] = _texts(values), amounts
            yield _cells(i, *(known[column] if parts is None else _of_parts(*known[column], parts)))


def _cut(numbers: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    x = numbers.drop_null().to_numpy()
    if not len(x):
        return pa.array([], pa.string()), pa.array([], pa.int64())
    values, amounts, digits = quantiles.count_numbers(x)
    return pa.array([*map(repr, values.tolist()), "digits"]), pa.array([*amounts, digits], pa.int64())


def _numbers(number: pa.ChunkedArray, raw: pa.ChunkedArray, family: str) -> dict[str, int]:
    x = number.drop_null().to_numpy()
    if not len(x):
        return {}
    cells = {"count": len(x), "min": _integer(x.min()), "max": _integer(x.max())} | exact_sums.limb_sums(x)
    if family in ("bigint", "decimal") and cells["min"] == cells["max"]:  # different ones may be the same double
        hashes = ArrowValue(raw.filter(number.is_valid()).combine_chunks(), family).hash
        cells |= {"lowest hash": int(hashes.min()), "highest hash": int(hashes.max())}
    return cells


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


def rank_values(counts: pa.Table, min_frequency: int = 1, most: int | None = None) -> list[str]:
    """The values that are frequent enough, most frequent first, ties by their UTF-8 bytes."""
    kept = counts.filter(pc.greater_equal(counts["amount"], min_frequency))
    kept = kept.sort_by([("amount", "descending"), ("value", "ascending")])
    return kept["value"].slice(0, most).to_pylist()  # type: ignore[no-any-return]
