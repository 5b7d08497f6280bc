"""Statistics of the training rows: moments of numbers and counts of values, measured in one pass.

Statistics are a long table with the columns `of` (name of the statistic), `value` and `amount`. They are exact and additive:
`merge_statistics` of two sets of rows gives the statistics of their union, so a new month is fitted without reading the former
ones again. Workers measure Arrow batches; an engine distributes the rows and adds up the results.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import exact_sums, quantiles
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.types import ArrowValue, SqlValue, arrow_cast
from keyfold.engine.columns import col, lit, when
from keyfold.engine.frame import Frame

Stats = Mapping[str, Any]
STATISTICS_SCHEMA = pa.schema({"of": pa.string(), "value": pa.string(), "amount": pa.int64()})
STATISTICS_VERSION = 2  # of the measurements; statistics of different versions are never merged
_MEMORY = 1 << 28  # bytes of rows that a worker collects before it counts them


class FitInput(NamedTuple):
    """An input of a feature to fit: a column or a derived number, and its SQL value."""

    of: str | Derived
    sql: SqlValue


class CountedExpression(NamedTuple):
    """Values of type string, bigint or double that are counted. NULL is not counted.

    expression: SQL expression of the values, which names the statistic. columns: those that `kernel` reads; it gives the same values
    and is sent to the workers. parts: splits each text and counts the parts instead; its `repr` is part of the name. shortened:
    rounds doubles to the digits that quantiles need.
    """

    expression: str
    columns: Sequence[str]
    kernel: "Callable[[BatchValues], pa.Array]"
    parts: Callable[[str], Sequence[str]] | None = None
    shortened: bool = False

    @classmethod
    def numbers(cls, value: FitInput) -> "CountedExpression":
        """The numbers of an input, for quantiles."""
        return cls(value.sql.number, raw_columns(value.of), partial(_number, value.of), shortened=True)

    @classmethod
    def values(cls, value: FitInput, parts: Callable[[str], Sequence[str]] | None = None) -> "CountedExpression":
        """The canonical values of an input."""
        return cls(value.sql.canonical, raw_columns(value.of), partial(_canonical, value.of), parts)

    @property
    def name(self) -> str:
        """Name of the statistic."""
        if self.shortened:
            return _SHORTENED + self.expression
        return self.expression if self.parts is None else f"{self.parts} of {self.expression}"


def _number(of: str | Derived, values: "BatchValues") -> pa.Array:
    return pa.array(values[of].number, from_pandas=True)


def _canonical(of: str | Derived, values: "BatchValues") -> pa.Array:
    return values[of].canonical


class BatchValues:
    """The values of columns of some rows and of numbers derived from them; each is computed once.

    rows: with the columns; families: the type family of each column.
    """

    def __init__(self, rows: pa.Table, families: Mapping[str, str]) -> None:
        self.rows, self.families = rows, families
        self._known: dict[str | Derived, ArrowValue] = {}

    def __getitem__(self, of: str | Derived) -> ArrowValue:
        if of not in self._known:
            if isinstance(of, str):
                self._known[of] = arrow_cast(self.rows[of], self.families[of], of)
            else:
                self._known[of] = of.arrow([self[column] for column in raw_columns(of)])
        return self._known[of]


class Target(NamedTuple):
    """Columns of training rows.

    positive: boolean, whether the label is the positive class. part: bigint in [0, 1,000,000), for out-of-fold values.
    """

    positive: str
    part: str


class FeatureStatistics(NamedTuple):
    """Statistics for fitting one feature.

    inputs: for each input, `width` if it is a feature; else its type `family` and, on request, the moments of
    `Statistics.numbers`. counts: for each counted expression, a table of `value` (double if shortened) and `amount`.
    """

    inputs: Sequence[Stats]
    counts: Sequence[pa.Table]


def measure_statistics(
    frame: Frame, families: Mapping[str, str], numbers: Mapping[str, str | Derived], counted: Sequence[CountedExpression]
) -> pa.Table:
    """Measures the rows of a frame in one pass.

    families: type family of each column that is read. numbers: columns and derived numbers whose moments are measured, by name.
    """
    if not numbers and not counted:
        return STATISTICS_SCHEMA.empty_table()
    counted = [*{c.name: c for c in counted}.values()]
    names = [*(_NUMBERS + column for column in numbers), *(c.name for c in counted)]
    columns = dict.fromkeys([*(c for of in numbers.values() for c in raw_columns(of)), *(c for e in counted for c in e.columns)])
    function = partial(_measure, families, [*numbers.values()], counted)
    # Arrow groups text about ten times as fast as Spark's aggregate does, so an engine only adds up the counts of the tasks.
    partial_counts = frame.select(columns).map_batches(function, {"i": pa.int32(), "value": pa.string(), "amount": pa.int64()})
    extremes = col("i").is_in([-1, *(i for i, name in enumerate(names) if name.startswith(_EXTREME))])
    with frame.batches_by_rows():
        cells = sum_cells(partial_counts, "i", extremes).to_arrow()
    of = pa.array(names, pa.string()).take(cells["i"].combine_chunks())
    return pa.table([of, *cells.columns[1:]], schema=STATISTICS_SCHEMA)


_NUMBERS, _SHORTENED = _EXTREME = "numbers of ", "cut numbers of "
# These amounts of numbers are minima and maxima, stored as integers in the same order. All other amounts are summed.
_LOWEST, _HIGHEST = ("min", "lowest hash", "digits"), ("max", "highest hash")


def merge_statistics(statistics: Sequence[pa.Table]) -> pa.Table:
    """Statistics of all rows, given those of disjoint sets of them."""
    table = pa.concat_tables([STATISTICS_SCHEMA.empty_table(), *statistics])
    may_be_extreme = pc.or_(*(pc.starts_with(table["of"], name) for name in _EXTREME))
    low, high = (pc.and_(may_be_extreme, pc.is_in(table["value"], pa.array(values))) for values in (_LOWEST, _HIGHEST))
    rows_by_function = {"min": low, "max": high, "sum": pc.invert(pc.or_(low, high))}
    return pa.concat_tables([_aggregate(table.filter(rows), function) for function, rows in rows_by_function.items()])


def sum_cells(cells: Frame, key: str, may_be_extreme: nw.Expr) -> Frame:
    """`merge_statistics` by an engine, for many counts.

    cells: a column `key`, `value` and `amount`. may_be_extreme: boolean, rows whose amount may be a minimum or maximum.
    """
    low, high = (may_be_extreme & col("value").is_in(values) for values in (_LOWEST, _HIGHEST))
    summed = when(low | high).then(lit(0)).otherwise(col("amount"))  # the sum of hashes may be too large
    amount = col("amount")
    groups = cells.with_columns({"summed": summed}).group(
        [key, "value"], least=amount.min(), most=amount.max(), summed=col("summed").sum()
    )
    chosen = when(low).then(col("least")).otherwise(when(high).then(col("most")).otherwise(col("summed")))
    return groups.with_columns({"amount": chosen}).select([key, "value", "amount"])


def is_extreme() -> nw.Expr:
    """Boolean expression over a table of statistics: whether the amount may be a minimum or maximum."""
    first, second = (col("of").str.starts_with(name) for name in _EXTREME)
    return first | second


def _aggregate(table: pa.Table, function: str) -> pa.Table:
    grouped = table.group_by(["of", "value"]).aggregate([("amount", function)])
    return grouped.rename_columns(["of", "value", "amount"]).cast(STATISTICS_SCHEMA)


class Statistics:
    """Looks up a table of statistics by column and by expression."""

    def __init__(self, table: pa.Table) -> None:
        table = table.combine_chunks()
        encoded = table["of"].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(encoded.dictionary)), side="right")
        starts = np.concatenate([[0], ends])[:-1]
        self._sorted = table.select(["value", "amount"]).take(pa.array(order))
        self._slices = {of: (s, e - s) for of, s, e in zip(encoded.dictionary.to_pylist(), starts, ends, strict=True)}

    def _cells(self, name: str) -> pa.Table:
        return self._sorted.slice(*self._slices.get(name, (0, 0)))

    def counts(self, counted: CountedExpression) -> pa.Table:
        """Counts of an expression: `value` (double if shortened, else string) and `amount` (int64), in no order."""
        cells = self._cells(counted.name)
        if not counted.shortened or not cells.num_rows:
            return cells
        amounts_of = dict(zip(cells["value"].to_pylist(), cells["amount"].to_pylist(), strict=True))
        digits = amounts_of.pop("digits")
        numbers, counts = np.array(list(map(float, amounts_of))), np.array(list(amounts_of.values()))
        values, amounts, _ = quantiles.shorten_counts(numbers, counts, digits)
        return pa.table({"value": values, "amount": amounts})

    def numbers(self, column: str) -> dict[str, Any]:
        """Moments of a column: count (int); min, max, mean and population deviation (float); varies (bool).

        Only `count` if there is no number. `varies` is exact: integers may differ although their doubles are equal.
        """
        cells = self._cells(_NUMBERS + column)
        row: dict[str, int] = dict(zip(cells["value"].to_pylist(), cells["amount"].to_pylist(), strict=True))
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
    """Maps a double to a 64-bit integer, preserving the order."""
    bits = int(np.float64(abs(x)).view(np.int64))
    return -bits if x < 0 else bits


def _double(integer: int) -> float:
    size = float(np.int64(abs(integer)).view(np.float64))
    return -size if integer < 0 else size


# --- on a worker ---


def _measure(
    families: Mapping[str, str],
    numbers: Sequence[str | Derived],
    counted: Sequence[CountedExpression],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Statistics of the rows of a task; `i` numbers the statistics."""
    for table in _collect(batches):
        values = BatchValues(table, families)
        for i, of in enumerate(numbers):
            sums = _number_sums(values[of])
            yield _cells(i, pa.array(sums, pa.string()), pa.array(sums.values(), pa.int64()))
        counts: dict[str, tuple[pa.Array, pa.Array]] = {}
        for i, c in enumerate(counted, len(numbers)):
            if c.shortened:
                yield _cells(i, *_shortened_counts(c.kernel(values)))
                continue
            if c.expression not in counts:
                # Not `group_by`: its hash takes 200 times as long for doubles whose last bits are 0.
                distinct, amounts = pc.value_counts(c.kernel(values).drop_null()).flatten()
                counts[c.expression] = _texts(distinct), amounts
            yield _cells(i, *(counts[c.expression] if c.parts is None else _part_counts(*counts[c.expression], c.parts)))


def _shortened_counts(numbers: pa.Array) -> tuple[pa.Array, pa.Array]:
    x = numbers.drop_null().to_numpy()
    if not len(x):
        return pa.array([], pa.string()), pa.array([], pa.int64())
    values, amounts, digits = quantiles.count_numbers(x)
    return pa.array([*map(repr, values.tolist()), "digits"]), pa.array([*amounts, digits], pa.int64())


def _number_sums(value: ArrowValue) -> dict[str, int]:
    there = ~np.isnan(value.number)
    x = value.number[there]
    if not len(x):
        return {}
    sums = {"count": len(x), "min": _integer(x.min()), "max": _integer(x.max())} | exact_sums.limb_sums(x)
    if value.family in ("bigint", "decimal") and sums["min"] == sums["max"]:  # different integers may be the same double
        hashes = value.hash[there]
        sums |= {"lowest hash": int(hashes.min()), "highest hash": int(hashes.max())}
    return sums


def _collect(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    collected: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        collected.append(batch)
        size += batch.nbytes
        if size > _MEMORY:
            yield pa.Table.from_batches(collected)
            collected, size = [], 0
    if collected:
        yield pa.Table.from_batches(collected)


def _texts(values: pa.Array) -> pa.Array:
    # Python's repr of a double is the shortest text that gives the same double.
    return pa.array(map(repr, values.to_pylist()), pa.string()) if pa.types.is_float64(values.type) else values.cast(pa.string())


def _part_counts(values: pa.Array, amounts: pa.Array, parts: Callable[[str], Sequence[str]]) -> tuple[pa.Array, pa.Array]:
    parts_of = [parts(text) for text in values.to_pylist()]
    flat = pa.array([part for text_parts in parts_of for part in text_parts], pa.string())
    times = np.repeat(amounts.to_numpy(), [len(text_parts) for text_parts in parts_of])
    counts = pa.table({"value": flat, "amount": times}).group_by("value", use_threads=False).aggregate([("amount", "sum")])
    return counts["value"].combine_chunks(), counts["amount_sum"].combine_chunks()


def _cells(i: int, values: pa.Array, amounts: pa.Array) -> pa.RecordBatch:
    numbers = pa.array(np.full(len(values), i, np.int32))
    return pa.record_batch({"i": numbers, "value": values, "amount": amounts.cast(pa.int64())})


def rank_values(counts: pa.Table, min_frequency: int = 1, most: int | None = None) -> list[str]:
    """Values that occur at least `min_frequency` times, most frequent first, ties by UTF-8 bytes; at most `most` of them."""
    frequent = counts.filter(pc.greater_equal(counts["amount"], min_frequency))
    ranked = frequent.sort_by([("amount", "descending"), ("value", "ascending")])
    return ranked["value"].slice(0, most).to_pylist()  # type: ignore[no-any-return]
