"""Columns that give the label away: by one of them alone, or by where it is missing, held-out rows are told nearly without fault."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Doubles, Int64s

SUSPECT_SCORE = 0.95  # of ROC AUC or R², on held-out rows
LEAST_ROWS = 20  # of each class, or of a regression twice as many, before a column can be a suspect
_BINS, _ROWS_A_BIN = 50, 20
_SMOOTHING = 1.0


class ColumnValues(NamedTuple):
    """A column's values: numbers (NaN where missing), or codes of texts from 0 (-1 where missing)."""

    numbers: Doubles | None
    codes: Int64s | None = None

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Where there is no value."""
        if self.numbers is not None:
            return np.isnan(self.numbers)
        assert self.codes is not None
        return self.codes < 0

    def scaled(self) -> "ColumnValues":
        """Numbers within -1 and 1, so that squares do not overflow."""
        return self if self.numbers is None else ColumnValues(_scaled(self.numbers))

    def known(self) -> Doubles:
        """The numbers or codes."""
        return self.numbers if self.numbers is not None else np.asarray(self.codes, np.float64)


class LabelValues(NamedTuple):
    """What is to be told: numbers, or of two classes 1.0 and 0.0."""

    y: Doubles
    classes: bool

    def quality(self, scores: Doubles) -> float:
        """ROC AUC, or R²."""
        return _roc_auc(self.y, scores) if self.classes else _r2(self.y, scores)

    @property
    def forms(self) -> list["LabelValues"]:
        """Classes as they are; numbers within -1 and 1, and by their ranks, since of a heavy tail a few rows make all of R²."""
        if self.classes:
            return [self]
        return [self._replace(y=y) for y in (_scaled(self.y), _ranks(self.y) / len(self.y))]

    def __str__(self) -> str:
        return "ROC AUC" if self.classes else "R²"


class LabelLeakage(NamedTuple):
    """How much of the label a column tells on held-out rows: by its values, and by where it is missing (ROC AUC or R²)."""

    alone: float
    missing: float


def measure_leakage(column: ColumnValues, label: LabelValues, half: npt.NDArray[np.bool_]) -> LabelLeakage:
    """What a column tells of the rows outside a half, by models that are fitted on that half."""
    found = [_told(column.scaled(), one, half) for one in label.forms]
    return LabelLeakage(*map(max, zip(*found, strict=True)))


def _told(column: ColumnValues, label: LabelValues, half: npt.NDArray[np.bool_]) -> LabelLeakage:
    held = LabelValues(label.y[~half], label.classes)
    missing = held.quality(_by_level(column.missing.astype(np.int64), half, label)[~half])
    return LabelLeakage(max(held.quality(scores[~half]) for scores in _scores(column, half, label)), missing)


def word(levels: Int64s, starts: Int64s, half: npt.NDArray[np.bool_], label: LabelValues) -> float:
    """What the most telling word of texts tells by being there, of the rows outside a half; it is chosen on that half.

    `levels`: the words as small numbers, each once a text, text by text; `starts`: where each text begins, and the end.
    """
    return max(_word(levels, starts, half, one) for one in label.forms) if len(levels) else 0.0


def _word(levels: Int64s, starts: Int64s, half: npt.NDArray[np.bool_], label: LabelValues) -> float:
    row = np.repeat(np.arange(len(half)), np.diff(starts))
    fitted, mean = half[row], label.y[half].mean()
    n = np.bincount(levels[fitted], minlength=levels.max() + 1)
    more = np.bincount(levels[fitted], weights=label.y[row[fitted]] - mean, minlength=len(n))
    said = more**2 / np.maximum(n * (1 - n / half.sum()), 1e-9)
    there = np.zeros(len(half), np.int64)
    there[row[levels == said.argmax()]] = 1
    return label._replace(y=label.y[~half]).quality(_by_level(there, half, label)[~half])


def leakage_reason(column: ColumnValues, label: LabelValues) -> str | None:
    """Why a column is a suspect, as the rest of a sentence; None where it is none, or rows are too few to say so."""
    if not has_enough_rows(label):
        return None
    alone, missing = measure_leakage(column, label, _half(label))
    if missing > SUSPECT_SCORE:
        return f"where it is missing tells the label ({label} {missing:.3f} on held-out rows), as if it were filled in afterwards"
    if not alone > SUSPECT_SCORE:  # NaN is none
        return None
    return f"it alone tells the label ({label} {alone:.3f} on held-out rows), as what is known only with the label does"


def reason_in_words(texts: Sequence[str | None], label: LabelValues) -> str | None:
    """Why texts are a suspect by one of their words; as `reason`."""
    if not has_enough_rows(label):
        return None
    numbers: dict[str, int] = {}
    each = [{numbers.setdefault(w, len(numbers)) for w in re.findall(r"\w+", (text or "").lower())} for text in texts]
    starts = np.cumsum([0, *map(len, each)])
    found = word(np.array([n for some in each for n in some], np.int64), starts, _half(label), label)
    return f"one of its words tells the label ({label} {found:.3f} on held-out rows)" if found > SUSPECT_SCORE else None


def _half(label: LabelValues) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(0).permutation(len(label.y)) % 2 == 0


def combined_leakage(columns: dict[str, ColumnValues], label: LabelValues) -> tuple[float, list[str]]:
    """The ROC AUC of all columns together, as if each said its own (naive Bayes), and the columns, most telling first."""
    half = _half(label)
    if not label.classes or not has_enough_rows(label) or not columns:
        return 0.5, []
    held = LabelValues(label.y[~half], label.classes)
    odds = {}
    for name, column in columns.items():
        said = np.clip(_scores(column.scaled(), half, label)[0], 1e-6, 1 - 1e-6)
        odds[name] = np.log(said / (1 - said))[~half]
    total = np.sum(list(odds.values()), axis=0)
    return held.quality(total), sorted(odds, key=lambda name: -held.quality(odds[name]))


def has_enough_rows(label: LabelValues) -> bool:
    """Whether there are rows enough to say so."""
    n = min(label.y.sum(), len(label.y) - label.y.sum()) if label.classes else len(label.y) / 2
    return bool(n >= LEAST_ROWS)


def _scores(column: ColumnValues, half: npt.NDArray[np.bool_], label: LabelValues) -> list[Doubles]:
    """What each of some models of one column, fitted on one half of the rows, says of all rows."""
    if column.codes is not None:
        return [_by_level(column.codes + 1, half, label)]
    assert column.numbers is not None
    known = column.numbers[half & ~column.missing]
    edges = (
        np.unique(np.quantile(known, np.linspace(0, 1, min(_BINS, 2 + len(known) // _ROWS_A_BIN) + 1)[1:-1]))
        if len(known)
        else known
    )
    bins = np.where(column.missing, 0, 1 + np.searchsorted(edges, np.nan_to_num(column.numbers), side="right"))
    levels = _by_level(bins, half, label)
    return [levels, _line(column, levels, half, label)]


def _by_level(levels: Int64s, half: npt.NDArray[np.bool_], label: LabelValues) -> Doubles:
    """The label's mean at each level, drawn a little towards the mean of all."""
    n = int(levels.max(initial=0)) + 1
    rows = np.bincount(levels[half], minlength=n)
    sums = np.bincount(levels[half], weights=label.y[half], minlength=n)
    found: Doubles = (sums + _SMOOTHING * label.y[half].mean()) / (rows + _SMOOTHING)
    return found[levels]


def _line(column: ColumnValues, levels: Doubles, half: npt.NDArray[np.bool_], label: LabelValues) -> Doubles:
    """A straight line; where the number is missing the mean of those rows."""
    assert column.numbers is not None
    here = half & ~column.missing
    if not here.any():
        return levels
    x, y = column.numbers[here], label.y[here]
    spread = x.std()
    slope = ((x - x.mean()) / spread * (y - y.mean())).mean() / spread if spread > 0 else 0.0
    return np.where(column.missing, levels, y.mean() + slope * (np.nan_to_num(column.numbers) - x.mean()))


def _scaled(numbers: Doubles) -> Doubles:
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)  # as features take them
    largest = np.nanmax(np.abs(numbers), initial=0.0)
    return numbers / largest if largest > 1 else numbers


def _ranks(values: Doubles) -> Doubles:
    """From 1; of ties the mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return found


def _roc_auc(y: Doubles, scores: Doubles) -> float:
    ranks = _ranks(scores)
    ones = y.sum()
    pairs = ones * (len(y) - ones)
    return float((ranks[y == 1].sum() - ones * (ones + 1) / 2) / pairs) if pairs else 0.5


def _r2(y: Doubles, scores: Doubles) -> float:
    spread = ((y - y.mean()) ** 2).sum()
    return float(1 - ((y - scores) ** 2).sum() / spread) if spread > 0 else 0.0
