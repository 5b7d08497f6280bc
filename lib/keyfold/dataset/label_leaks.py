"""Finds columns that leak the label: measures how well each column alone predicts it, on a sample of the rows by the hash of the key.

One half of the split's units fits a model of the column, and the other half measures that model.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core import hashing
from keyfold.core.names import LABEL, ORDER, UNIT
from keyfold.core.types import DAYS, NUMBERS, ArrowValue, arrow_family, family_of
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.hashes import key_hash, sample_place
from keyfold.evaluation import label_leakage
from keyfold.evaluation.label_leakage import ColumnValues, LabelValues
from keyfold.features.kinds.text import Text
from keyfold.split.folds import Folds

ROWS, CELLS = 50_000, 4_000_000  # maxima for the sample
_WORDS, _LENGTH = 1 << 16, 100  # words are hashed to this many numbers; a text counts as this many cells
_PLACE = "keyfold_place"


class Leak(NamedTuple):
    """ROC AUC (for a number: R²) of a column: of its values, of whether it is NULL, and of the best single word of its text."""

    column: str
    alone: float
    missing: float
    word: float = 0.0

    @property
    def most(self) -> float:
        """The highest of the three scores."""
        return max(self.alone, self.missing, self.word)


def find_leaks(
    rows: Frame, n: int, folds: Folds, columns: Sequence[str], *, classes: bool, texts: Sequence[Text] = ()
) -> list[Leak]:  # fmt: skip
    """Measures each column in one pass over the `n` rows; highest score first; empty if there are too few rows to measure.

    classes: whether the label is a class. texts: the kinds whose columns are measured word by word.
    """
    if not columns:
        return []
    words = {f"w{columns.index(kind.input_col)}": kind for kind in texts if kind.input_col in columns}
    size = min(ROWS, CELLS // (len(columns) + _LENGTH * len(words)))
    rows = rows.select(dict.fromkeys([*folds.by, *folds.key, LABEL, *columns]))
    if n > size:
        rows = rows.compute(sample_place(_PLACE, rows.types, folds.key, "leaks"))
        rows = rows.where(col(_PLACE) < lit(round(size / n * hashing.PARTS)))
    rows = folds.add_unit(rows, UNIT).compute(key_hash(ORDER, rows.types, folds.key, "leaks"))
    table = rows.compute(_measured(rows.types, columns, words), []).to_arrow()
    # Sums of doubles depend on the order of the rows, so it is fixed.
    table = table.sort_by([(name, "ascending") for name in table.column_names if name not in words])
    y, fitted = LabelValues(table["y"].to_numpy(), classes), table["half"].to_numpy()
    if not label_leakage.has_enough_rows(y) or fitted.all() or not fitted.any():
        return []
    by_word = {name: _by_word(table[name], y, fitted) for name in words}
    leaks = [
        Leak(name, *label_leakage.measure_leakage(_values(table[f"c{i}"]), y, fitted), by_word.get(f"w{i}", 0.0))
        for i, name in enumerate(columns)
    ]
    return sorted(leaks, key=lambda leak: -leak.most)


def _measured(types: Mapping[str, str], columns: Sequence[str], words: Mapping[str, Text]) -> Computed:
    """Columns for the order of the rows, the label, the half of each unit, and the numbered values and words of columns."""
    as_numbers = [family_of(types[column]) in (*NUMBERS, *DAYS) for column in columns]
    values = {f"c{i}": pa.float64() if as_number else pa.int64() for i, as_number in enumerate(as_numbers)}
    fixed = {ORDER: pa.int64(), "y": pa.float64(), "half": pa.bool_()}
    lists = dict.fromkeys(words, pa.list_(pa.int64()))
    return Computed(fixed | values | lists, partial(_measure, columns, [*words.values()]))


def _measure(columns: Sequence[str], words: Sequence[Text], batch: pa.RecordBatch) -> list[pa.Array]:
    half = pa.array(hashing.reduce(batch[UNIT].to_numpy(), 2) == 0)
    values = (_arrow_value(batch[name]) for name in columns)
    return [batch[ORDER], batch[LABEL].cast(pa.float64()), half, *values, *(_word_numbers(kind, batch) for kind in words)]


def _word_numbers(kind: Text, batch: pa.RecordBatch) -> pa.Array:
    words = kind.words(batch[kind.input_col])
    lists = pa.ListArray.from_arrays(words.offsets, pa.array(hashing.value_hash(words.values) % _WORDS))
    return pa.array([[*dict.fromkeys(numbers)] for numbers in lists.to_pylist()], lists.type)


def _arrow_value(array: pa.Array) -> pa.Array:
    """The value as a double; for a column that is neither a number nor a time, the hash of the value."""
    family = arrow_family(array.type)
    value = ArrowValue(array, family)
    if family in NUMBERS:
        return pa.array(value.number, mask=np.isnan(value.number))
    if family in DAYS:
        return pa.array(value.canonical.fill_null(0).to_numpy().astype(np.float64), mask=value.null)
    return pa.array(hashing.chained_hash([hashing.hashed_cells(array)]), mask=value.null)


def _by_word(words: pa.ChunkedArray, label: LabelValues, half: npt.NDArray[np.bool_]) -> float:
    lists = words.combine_chunks()
    return label_leakage.word_leakage(
        lists.flatten().to_numpy(), lists.offsets.to_numpy() - lists.offsets[0].as_py(), half, label
    )


def _values(column: pa.ChunkedArray) -> ColumnValues:
    if pa.types.is_floating(column.type):
        return ColumnValues(column.fill_null(float("nan")).to_numpy())
    codes = np.unique(column.fill_null(0).to_numpy(), return_inverse=True)[1]
    return ColumnValues(None, np.where(column.is_valid().to_numpy(), codes, -1))
