"""Columns that leak the label: how well each predicts it alone, on a sample of the rows by the hash of the key.

One half of the split's units fits a model of the column, and the other half measures it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core import hashing, sql
from keyfold.core.names import LABEL, UNIT
from keyfold.core.row_hash import sample_place
from keyfold.core.types import DAYS, NUMBERS, SqlValue, family_of
from keyfold.engine.spark_frame import SparkFrame
from keyfold.evaluation import label_leakage
from keyfold.evaluation.label_leakage import ColumnValues, LabelValues
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ROWS, CELLS = 50_000, 4_000_000  # at most in the sample
_WORDS, _LENGTH = 1 << 16, 100  # words are hashed to so many numbers; a text counts as so many cells


class Leak(NamedTuple):
    """ROC AUC (of a number: R²) of a column for the label: by its values alone, by where it is NULL, by one word of its text."""

    column: str
    alone: float
    missing: float
    word: float = 0.0

    @property
    def most(self) -> float:
        """The greatest of the three."""
        return max(self.alone, self.missing, self.word)


def find_leaks(
    rows: "DataFrame", n: int, folds: Folds, columns: Sequence[str], *, classes: bool, texts: Mapping[str, str] | None = None
) -> list[Leak]:
    """The leak of each column, greatest first; empty if there are too few rows to measure. One pass over the `n` rows.

    classes: whether the label is a class; texts: SQL expressions of the words of text columns.
    """
    if not columns:
        return []
    texts = {name: words for name, words in (texts or {}).items() if name in columns}
    size = min(ROWS, CELLS // (len(columns) + _LENGTH * len(texts)))
    sample = rows if n <= size else rows.where(sample_place(rows, folds.key, "leaks") < round(size / n * hashing.PARTS))
    half = sql.column(f"{hashing.sql_reduce(UNIT, 2)} = 0").alias("half")
    values = [_value(rows, column).alias(f"c{i}") for i, column in enumerate(columns)]
    values += [
        sql.column(f"array_distinct(transform({words}, g -> pmod(xxhash64(g), {_WORDS})))").alias(f"w{i}")
        for i, words in enumerate(texts.values())
    ]
    label = sql.col(LABEL).cast("double").alias("y")
    table = folds.add_unit(SparkFrame(sample), UNIT).data.select(label, half, *values).toArrow()
    y, fitted = LabelValues(table["y"].to_numpy(), classes), table["half"].to_numpy()
    if not label_leakage.has_enough_rows(y) or fitted.all() or not fitted.any():
        return []
    by_word = {name: _by_word(table[f"w{i}"], y, fitted) for i, name in enumerate(texts)}
    leaks = [
        Leak(name, *label_leakage.measure_leakage(_values(table[f"c{i}"]), y, fitted), by_word.get(name, 0.0))
        for i, name in enumerate(columns)
    ]
    return sorted(leaks, key=lambda leak: -leak.most)


def _by_word(words: pa.ChunkedArray, label: LabelValues, half: npt.NDArray[np.bool_]) -> float:
    lists = words.combine_chunks()
    return label_leakage.word_leakage(
        lists.flatten().to_numpy(), lists.offsets.to_numpy() - lists.offsets[0].as_py(), half, label
    )


def _value(rows: "DataFrame", name: str) -> "Column":
    """The value as a double, or its hash if it is no number."""
    family = family_of(rows.schema[name].dataType.simpleString())
    column = sql.column_reference(name)
    if family in NUMBERS:
        return sql.column(SqlValue(column, family).number)
    if family in DAYS:
        return sql.column(f"CAST({hashing.sql_canonical(column, family)} AS DOUBLE)")
    return sql.column(f"IF({column} IS NULL, NULL, xxhash64({column}))")


def _values(column: pa.ChunkedArray) -> ColumnValues:
    if pa.types.is_floating(column.type):
        return ColumnValues(column.fill_null(float("nan")).to_numpy())
    codes = np.unique(column.fill_null(0).to_numpy(), return_inverse=True)[1]
    return ColumnValues(None, np.where(column.is_valid().to_numpy(), codes, -1))
