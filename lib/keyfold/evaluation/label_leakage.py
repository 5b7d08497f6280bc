"""Columns that leak the label: a simple model of one column, or of where it is missing, predicts held-out rows almost perfectly."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Doubles, Int64s

SUSPECT_SCORE = 0.95  # ROC AUC or R² on held-out rows, above which a column is reported
LEAST_ROWS = 20  # of each class, or half the rows of a regression, to report a column
_BINS, _ROWS_A_BIN = 50, 20
_SMOOTHING = 1.0


class ColumnValues(NamedTuple):
    """Values of a column: numbers (NaN if missing), or codes of texts from 0 (-1 if missing)."""

    numbers: Doubles | None
    codes: Int64s | None = None

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Booleans: whether the value is missing."""
        if self.numbers is not None:
            return np.isnan(self.numbers)
        assert self.codes is not None
        return self.codes < 0

    def scaled(self) -> "ColumnValues":
        """Numbers scaled to [-1, 1], so that squares do not overflow."""
        return self if self.numbers is None else ColumnValues(_scaled(self.numbers))

    def as_doubles(self) -> Doubles:
        """The numbers or codes, as float64."""
        return self.numbers if self.numbers is not None else np.asarray(self.codes, np.float64)


class LabelValues(NamedTuple):
    """Values of the label: numbers, or 1.0 and 0.0 for two classes."""

    y: Doubles
    classes: bool

    def quality(self, scores: Doubles) -> float:
        """ROC AUC or R² of predictions."""
        return _roc_auc(self.y, scores) if self.classes else _r2(self.y, scores)

    @property
    def variants(self) -> list["LabelValues"]:
        """Classes unchanged; numbers scaled to [-1, 1], and their ranks, because R² of a heavy tail depends on a few rows."""
        if self.classes:
            return [self]
        return [self._replace(y=y) for y in (_scaled(self.y), _ranks(self.y) / len(self.y))]

    def __str__(self) -> str:
        return "ROC AUC" if self.classes else "R²"


class LabelLeakage(NamedTuple):
    """ROC AUC or R² on held-out rows: of the values of a column, and of where it is missing."""

    alone: float
    missing: float


def measure_leakage(column: ColumnValues, label: LabelValues, half: npt.NDArray[np.bool_]) -> LabelLeakage:
    """Leakage of a column, by models that are fitted on the rows of `half` (booleans) and measured on the others."""
    leakages = [_leakage(column.scaled(), variant, half) for variant in label.variants]
    return LabelLeakage(*map(max, zip(*leakages, strict=True)))


def _leakage(column: ColumnValues, label: LabelValues, half: npt.NDArray[np.bool_]) -> LabelLeakage:
    held_out = LabelValues(label.y[~half], label.classes)
    missing = held_out.quality(_level_means(column.missing.astype(np.int64), half, label)[~half])
    return LabelLeakage(max(held_out.quality(scores[~half]) for scores in _scores(column, half, label)), missing)


def word_leakage(words: Int64s, starts: Int64s, half: npt.NDArray[np.bool_], label: LabelValues) -> float:
    """ROC AUC or R² of the presence of one word, on the rows outside `half`. The word is chosen on `half`.

    words: numbers of the different words of each text, one text after another. starts: first word of each text, and the end.
    """
    return max(_word_leakage(words, starts, half, variant) for variant in label.variants) if len(words) else 0.0


def _word_leakage(words: Int64s, starts: Int64s, half: npt.NDArray[np.bool_], label: LabelValues) -> float:
    row = np.repeat(np.arange(len(half)), np.diff(starts))
    fitted, mean = half[row], label.y[half].mean()
    n = np.bincount(words[fitted], minlength=words.max() + 1)
    excess = np.bincount(words[fitted], weights=label.y[row[fitted]] - mean, minlength=len(n))
    explained = excess**2 / np.maximum(n * (1 - n / half.sum()), 1e-9)
    present = np.zeros(len(half), np.int64)
    present[row[words == explained.argmax()]] = 1
    return label._replace(y=label.y[~half]).quality(_level_means(present, half, label)[~half])


def leakage_reason(column: ColumnValues, label: LabelValues) -> str | None:
    """Why a column is a suspect, as the end of a sentence; None if it is not, or if there are too few rows."""
    if not has_enough_rows(label):
        return None
    alone, missing = measure_leakage(column, label, _half(label))
    if missing > SUSPECT_SCORE:
        return (
            f"its missing values predict the label ({label} {missing:.3f} on held-out rows), as if it were filled in afterwards"
        )
    if not alone > SUSPECT_SCORE:  # also if NaN
        return None
    return f"it alone predicts the label ({label} {alone:.3f} on held-out rows), like a column that is known only with the label"


def reason_in_words(texts: Sequence[str | None], label: LabelValues) -> str | None:
    """Why a column of texts is a suspect, because of one word; as `leakage_reason`."""
    if not has_enough_rows(label):
        return None
    numbers: dict[str, int] = {}
    texts_words = [{numbers.setdefault(w, len(numbers)) for w in re.findall(r"\w+", (text or "").lower())} for text in texts]
    starts = np.cumsum([0, *map(len, texts_words)])
    quality = word_leakage(np.array([*chain.from_iterable(texts_words)], np.int64), starts, _half(label), label)
    return f"one of its words predicts the label ({label} {quality:.3f} on held-out rows)" if quality > SUSPECT_SCORE else None


def _half(label: LabelValues) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(0).permutation(len(label.y)) % 2 == 0


def combined_leakage(columns: dict[str, ColumnValues], label: LabelValues) -> tuple[float, list[str]]:
    """ROC AUC of all columns combined by naive Bayes, and the columns, best first. 0.5 and none for a regression or too few rows."""
    half = _half(label)
    if not label.classes or not has_enough_rows(label) or not columns:
        return 0.5, []
    held_out = LabelValues(label.y[~half], label.classes)
    odds = {}
    for name, column in columns.items():
        rate = np.clip(_scores(column.scaled(), half, label)[0], 1e-6, 1 - 1e-6)
        odds[name] = np.log(rate / (1 - rate))[~half]
    total = np.sum(list(odds.values()), axis=0)
    return held_out.quality(total), sorted(odds, key=lambda name: -held_out.quality(odds[name]))


def has_enough_rows(label: LabelValues) -> bool:
    """Whether there are enough rows to report a column."""
    n = min(label.y.sum(), len(label.y) - label.y.sum()) if label.classes else len(label.y) / 2
    return bool(n >= LEAST_ROWS)


def _scores(column: ColumnValues, half: npt.NDArray[np.bool_], label: LabelValues) -> list[Doubles]:
    """Predictions for all rows, of each simple model of one column that is fitted on `half`."""
    if column.codes is not None:
        return [_level_means(column.codes + 1, half, label)]
    assert column.numbers is not None
    x = column.numbers[half & ~column.missing]
    shares = np.linspace(0, 1, min(_BINS, 2 + len(x) // _ROWS_A_BIN) + 1)[1:-1]
    edges = np.unique(np.quantile(x, shares)) if len(x) else x
    bins = np.where(column.missing, 0, 1 + np.searchsorted(edges, np.nan_to_num(column.numbers), side="right"))
    means = _level_means(bins, half, label)
    return [means, _line(column, means, half, label)]


def _level_means(levels: Int64s, half: npt.NDArray[np.bool_], label: LabelValues) -> Doubles:
    """For each row, the mean label of its level on `half`, smoothed towards the mean of all levels."""
    n = int(levels.max(initial=0)) + 1
    rows = np.bincount(levels[half], minlength=n)
    sums = np.bincount(levels[half], weights=label.y[half], minlength=n)
    means: Doubles = (sums + _SMOOTHING * label.y[half].mean()) / (rows + _SMOOTHING)
    return means[levels]


def _line(column: ColumnValues, means: Doubles, half: npt.NDArray[np.bool_], label: LabelValues) -> Doubles:
    """Predictions of a straight line, and `means` for rows whose number is missing."""
    assert column.numbers is not None
    fitted = half & ~column.missing
    if not fitted.any():
        return means
    x, y = column.numbers[fitted], label.y[fitted]
    spread = x.std()
    slope = ((x - x.mean()) / spread * (y - y.mean())).mean() / spread if spread > 0 else 0.0
    return np.where(column.missing, means, y.mean() + slope * (np.nan_to_num(column.numbers) - x.mean()))


def _scaled(numbers: Doubles) -> Doubles:
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)  # infinity is missing, as in features
    largest = np.nanmax(np.abs(numbers), initial=0.0)
    return numbers / largest if largest > 1 else numbers


def _ranks(values: Doubles) -> Doubles:
    """Ranks from 1; ties have their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def _roc_auc(y: Doubles, scores: Doubles) -> float:
    ranks = _ranks(scores)
    ones = y.sum()
    pairs = ones * (len(y) - ones)
    return float((ranks[y == 1].sum() - ones * (ones + 1) / 2) / pairs) if pairs else 0.5


def _r2(y: Doubles, scores: Doubles) -> float:
    spread = ((y - y.mean()) ** 2).sum()
    return float(1 - ((y - scores) ** 2).sum() / spread) if spread > 0 else 0.0
