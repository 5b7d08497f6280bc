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
from keyfold.labels import Classes, Label, Multilabel
from keyfold.split.folds import Folds

ROWS, CELLS = 50_000, 4_000_000  # maxima for the sample
_WORDS, _LENGTH = 1 << 16, 100  # words are hashed to this many numbers; a text counts as this many cells
_CLASSES = 10  # classes or labels that are looked at
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
    rows: Frame, n: int, folds: Folds, columns: Sequence[str], *, label: Label, texts: Sequence[Text] = ()
) -> list[Leak]:  # fmt: skip
    """Measures each column in one pass over the `n` rows; highest score first; empty if there are too few rows to measure.

    label: the label; of several classes or labels, each of the most frequent is looked at alone. texts: the kinds whose columns are measured word by word.
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
    table = rows.compute(_measured(rows.types, columns, words, label), []).to_arrow()
    # Sums of doubles depend on the order of the rows, so it is fixed.
    table = table.sort_by([(name, "ascending") for name in table.column_names if name not in words])
    fitted = table["half"].to_numpy()
    targets = [y for y in _targets(label, table["y"]) if label_leakage.has_enough_rows(y)]
    if not targets or fitted.all() or not fitted.any():
        return []
    leaks = []
    for i, name in enumerate(columns):
        values, word = _values(table[f"c{i}"]), table[f"w{i}"] if f"w{i}" in words else None
        of = [
            (*label_leakage.measure_leakage(values, y, fitted), 0.0 if word is None else _by_word(word, y, fitted))
            for y in targets
        ]
        leaks.append(Leak(name, *map(max, zip(*of, strict=True))))
    return sorted(leaks, key=lambda leak: -leak.most)


def _targets(label: Label, truth: pa.ChunkedArray) -> list[LabelValues]:
    """What columns may give away: the number, the class, or each of the most frequent classes or labels."""
    if not isinstance(label, Classes | Multilabel):
        return [LabelValues(truth.to_numpy(), label.kind == "binary")]
    y = label.measured(truth)
    has = y[:, None] == np.arange(label.width) if y.ndim == 1 else y
    frequent = np.argsort(-has.sum(axis=0), kind="stable")[:_CLASSES]
    return [LabelValues(has[:, code].astype(np.float64), classes=True) for code in frequent]


def _measured(types: Mapping[str, str], columns: Sequence[str], words: Mapping[str, Text], label: Label) -> Computed:
    """Columns for the order of the rows, the label, the half of each unit, and the numbered values and words of columns."""
    as_numbers = [family_of(types[column]) in (*NUMBERS, *DAYS) for column in columns]
    values = {f"c{i}": pa.float64() if as_number else pa.int64() for i, as_number in enumerate(as_numbers)}
    fixed = {ORDER: pa.int64(), "y": pa.float64() if label.truth_type == pa.bool_() else label.truth_type, "half": pa.bool_()}
    lists = dict.fromkeys(words, pa.list_(pa.int64()))
    return Computed(fixed | values | lists, partial(_measure, columns, [*words.values()], label.truth_type))


def _measure(columns: Sequence[str], words: Sequence[Text], truth: pa.DataType, batch: pa.RecordBatch) -> list[pa.Array]:
    half = pa.array(hashing.reduce(batch[UNIT].to_numpy(), 2) == 0)
    values = (_arrow_value(batch[name]) for name in columns)
    y = batch[LABEL].cast(pa.float64() if truth == pa.bool_() else truth)
    return [batch[ORDER], y, half, *values, *(_word_numbers(kind, batch) for kind in words)]


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
