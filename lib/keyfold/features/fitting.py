"""Statistics of the training rows: moments of numbers and counts of values. `keyfold.features.measuring` measures them.

Statistics are a long table with the columns `of` (name of the statistic), `value` and `amount`. They are exact and additive: merging the
statistics of two sets of rows gives those of their union. A new month is therefore fitted without reading the former ones again.
"""

from collections.abc import Callable, Mapping, Sequence
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
STATISTICS_VERSION = 2  # statistics of different versions are never merged


class FitInput(NamedTuple):
    """An input of a feature to fit: a column or a derived number, and its SQL value."""

    of: str | Derived
    sql: SqlValue


class CountedExpression(NamedTuple):
    """Values of type string, bigint or double to count. NULL is not counted.

    expression: the SQL expression of the values, which names the statistic. kernel: computes the same values on the workers. columns:
    the columns that it reads. parts: splits each text, to count the parts instead; its `repr` is part of the name. shortened: whether
    doubles are rounded to the digits that quantiles need.
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
    """The values of columns and of numbers derived from them, each computed once on first use.

    rows: the columns. families: the type family of each column.
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


MOST_CLASSES = 10  # of a label that features learn from


class Target(NamedTuple):
    """Names of the columns of training rows that features learn the label from.

    positive: boolean, whether the label is the positive class; of more classes, bigint, the code of the class. part: bigint in
    [0, 1,000,000), for out-of-fold values. classes: the number of classes.
    """

    positive: str
    part: str
    classes: int = 2


class FeatureStatistics(NamedTuple):
    """Statistics for fitting one feature.

    inputs: for each input that is a feature, its `width`; for each other input, its type `family` and, on request, the moments of
    `Statistics.numbers`. counts: for each counted expression, a table of `value` (double if shortened) and `amount`.
    """

    inputs: Sequence[Stats]
    counts: Sequence[pa.Table]


NUMBERS, _SHORTENED = EXTREME = "numbers of ", "cut numbers of "
# The amounts with these values are minima and maxima, as integers in the order of the numbers. All other amounts are sums.
_LOWEST, _HIGHEST = ("min", "lowest hash", "digits"), ("max", "highest hash")


def merge_statistics(statistics: Sequence[pa.Table]) -> pa.Table:
    """Merges the statistics of disjoint sets of rows into those of all rows."""
    table = pa.concat_tables([STATISTICS_SCHEMA.empty_table(), *statistics])
    may_be_extreme = pc.or_(*(pc.starts_with(table["of"], name) for name in EXTREME))
    low, high = (pc.and_(may_be_extreme, pc.is_in(table["value"], pa.array(values))) for values in (_LOWEST, _HIGHEST))
    rows_by_function = {"min": low, "max": high, "sum": pc.invert(pc.or_(low, high))}
    return pa.concat_tables([_aggregate(table.filter(rows), function) for function, rows in rows_by_function.items()])


def sum_cells(cells: Frame, key: str, may_be_extreme: nw.Expr) -> Frame:
    """Does in an engine what `merge_statistics` does in memory, for many counts.

    cells: rows with the columns `key`, `value` and `amount`. may_be_extreme: whether the amount of a row may be a minimum or maximum.
    """
    low, high = (may_be_extreme & col("value").is_in(values) for values in (_LOWEST, _HIGHEST))
    summed = when(low | high).then(lit(0)).otherwise(col("amount"))  # a sum of hashes may overflow
    amount = col("amount")
    groups = cells.with_columns({"summed": summed}).group(
        [key, "value"], least=amount.min(), most=amount.max(), summed=col("summed").sum()
    )
    chosen = when(low).then(col("least")).otherwise(when(high).then(col("most")).otherwise(col("summed")))
    return groups.with_columns({"amount": chosen}).select([key, "value", "amount"])


def is_extreme() -> nw.Expr:
    """Expression over a table of statistics: whether the amount may be a minimum or maximum."""
    first, second = (col("of").str.starts_with(name) for name in EXTREME)
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
        """Counts of an expression: `value` (double if shortened, else string) and `amount` (int64), in any order."""
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

        Without any number, only `count`. `varies` is exact, also for different integers with equal doubles.
        """
        cells = self._cells(NUMBERS + column)
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


def as_integer(x: float) -> int:
    """Maps a double to a 64-bit integer and keeps the order."""
    bits = int(np.float64(abs(x)).view(np.int64))
    return -bits if x < 0 else bits


def _double(integer: int) -> float:
    size = float(np.int64(abs(integer)).view(np.float64))
    return -size if integer < 0 else size


def rank_values(counts: pa.Table, min_frequency: int = 1, most: int | None = None) -> list[str]:
    """Values that occur at least `min_frequency` times, most frequent first, ties by UTF-8 bytes; at most `most` of them."""
    frequent = counts.filter(pc.greater_equal(counts["amount"], min_frequency))
    ranked = frequent.sort_by([("amount", "descending"), ("value", "ascending")])
    return ranked["value"].slice(0, most).to_pylist()  # type: ignore[no-any-return]
