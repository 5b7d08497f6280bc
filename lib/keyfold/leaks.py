"""Columns that give the label away: alone, or by being there or not, they tell it nearly whole on rows that are held out.

A column of numbers is cut into ranges, others are taken by their values; each part of the rows (five, by the split's own units) is
answered by the mean label of the others. A gap is a value of its own. At most 50,000 rows are looked at, by the hash of the key.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold import hashing, sql
from keyfold.split import Folds, place
from keyfold.values import DAYS, NUMBERS, SqlValue, family_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MOST = 0.95  # ROC AUC, or R² of a number
ROWS, CELLS, PARTS, RANGES = 50_000, 4_000_000, 5, 256
ENOUGH = 10  # rows of the rarer class, below which nothing is said
_Doubles = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


class Told(NamedTuple):
    """How much of the label a column tells: all that is in it, and whether it is there at all (ROC AUC or R²)."""

    column: str
    alone: float
    there: float

    @property
    def most(self) -> float:
        """The greater of both."""
        return max(self.alone, self.there)


def told(rows: "DataFrame", n: int, folds: Folds, columns: Sequence[str], *, classes: bool) -> list[Told]:
    """What each column tells, the most telling first; none where there are too few rows to say. One pass over `n` rows."""
    from keyfold.examples import LABEL

    if not columns:
        return []
    wanted = min(ROWS, CELLS // len(columns))
    some = rows if n <= wanted else rows.where(place(rows, folds.key, "leaks") < round(wanted / n * hashing.PARTS))
    part = sql.column(f"CAST({hashing.sql_reduce('keyfold_unit', PARTS)} AS INT)")
    taken = [_value(rows, column).alias(f"c{i}") for i, column in enumerate(columns)]
    label = sql.col(LABEL).cast("double").alias("y")
    table = some.withColumn("keyfold_unit", folds.unit(rows)).select(label, part.alias("part"), *taken).toArrow()
    y, parts = table["y"].to_numpy(), table["part"].to_numpy().astype(np.int64)
    y = y / (np.abs(y).max(initial=0) or 1.0)
    if not _enough(y, classes=classes):
        return []
    found = [_told(name, table[f"c{i}"], y, parts, classes=classes) for i, name in enumerate(columns)]
    return sorted(found, key=lambda t: -t.most)


def _value(rows: "DataFrame", name: str) -> "Column":
    """A double, or the hash of a value that is no number."""
    family = family_of(rows.schema[name].dataType.simpleString())
    column = sql.reference(name)
    if family in NUMBERS:
        return sql.column(SqlValue(column, family).number)
    if family in DAYS:
        return sql.column(f"CAST({hashing.sql_canonical(column, family)} AS DOUBLE)")
    return sql.column(f"IF({column} IS NULL, NULL, xxhash64({column}))")


def _enough(y: _Doubles, *, classes: bool) -> bool:
    if classes:
        return bool(min(y.sum(), (1 - y).sum()) >= ENOUGH)
    return len(y) >= PARTS * ENOUGH and bool(np.ptp(y) > 0)


def _told(name: str, column: pa.ChunkedArray, y: _Doubles, parts: _Ints, *, classes: bool) -> Told:
    there = column.is_valid().to_numpy()
    number = pa.types.is_floating(column.type)
    values = column.fill_null(0).to_numpy()
    codes = np.where(there, 1 + (_ranges(values, there) if number else np.unique(values, return_inverse=True)[1]), 0)
    measure = _auc if classes else _r2
    alone = measure(y, _held_out(codes, y, parts))
    alone = max(alone, _line(y, values)) if number and not classes and there.all() else alone
    flat = there.all() or not there.any()
    return Told(name, alone, (0.5 if classes else 0.0) if flat else measure(y, _held_out(there.astype(np.int64), y, parts)))


def _ranges(values: _Doubles, there: npt.NDArray[np.bool_]) -> _Ints:
    """The number of each value's range; as many rows in each, or a range a value where there are few."""
    known = values[there]
    if not len(known):
        return np.zeros(len(values), np.int64)
    distinct = np.unique(known)
    many = int(min(RANGES, max(2, len(known) // (4 * PARTS))))
    edges = distinct if len(distinct) <= many else np.unique(np.quantile(known, np.arange(1, many) / many))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _held_out(codes: _Ints, y: _Doubles, parts: _Ints) -> _Doubles:
    """For each row the mean label of the rows of its code in other parts, with one row of the mean of all."""
    cells = codes * PARTS + parts
    size = PARTS * (int(codes.max()) + 1)
    n, total = (np.bincount(cells, weights=w, minlength=size).reshape(-1, PARTS) for w in (None, y))
    others, sums = (a.sum(1, keepdims=True) - a for a in (n.astype(np.float64), total))
    mean: _Doubles = (sums + y.mean()) / (others + 1)
    return mean[codes, parts]


def _auc(y: _Doubles, score: _Doubles) -> float:
    from scipy.stats import rankdata

    positive = y == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def _r2(y: _Doubles, score: _Doubles) -> float:
    return float(1 - ((y - score) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def _line(y: _Doubles, x: _Doubles) -> float:
    """R² of a straight line."""
    if np.ptp(x) == 0:
        return 0.0
    return float(np.corrcoef(x / np.abs(x).max(), y)[0, 1] ** 2)
