"""Curves of predictions: ROC, precision and recall, lift, calibration, accuracy by coverage; the confusion matrix."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keyfold.core.arrays import Doubles

POINTS = 200  # of a curve, as many as a chart can show


class Curve(NamedTuple):
    """Points of a curve; two arrays of the same length, at most `POINTS` (200)."""

    x: Doubles
    y: Doubles


class Calibration(NamedTuple):
    """Arrays with one entry per bin, by ascending probability.

    predicted: mean probability. observed: rate of the positive class. low, high: its 95 % interval (Wilson). rows: number of rows.
    truth: mean true probability, if known.
    """

    predicted: Doubles
    observed: Doubles
    low: Doubles
    high: Doubles
    rows: NDArray[np.int64]
    truth: Doubles | None


class Ranking(NamedTuple):
    """Rows by class, by descending p, with the number of rows above each threshold between different p.

    positives, negatives: indices of rows. positives_above, negatives_above: counts for each threshold, from 0 to all.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    positives_above: NDArray[np.int64]
    negatives_above: NDArray[np.int64]

    def counts(self, weight: Doubles) -> tuple[Doubles, Doubles]:
        """Weights of true and of false positives at each threshold, from 0 to all. `weight`: of each row."""
        return (
            _running(weight.take(self.positives)).take(self.positives_above),
            _running(weight.take(self.negatives)).take(self.negatives_above),
        )


def rank(positive: NDArray[np.bool_], p: Doubles) -> Ranking:
    """Ranks rows by p. positive: n booleans; p: n numbers, of which only the order and the ties matter."""
    descending = np.argsort(-p, kind="stable")
    positive, p = positive[descending], p[descending]
    cuts = np.append(0, 1 + np.flatnonzero(np.append(p[1:] != p[:-1], p.size > 0)))
    above = np.append(0, np.cumsum(positive))[cuts]
    # A threshold between negatives lies on a straight line of the counts: leaving it out changes no area.
    gains = np.diff(above) > 0
    kept = np.append(True, gains | np.append(gains[1:], True))
    return Ranking(descending[positive], descending[~positive], above[kept], (cuts - above)[kept])


def roc_curve(y: ArrayLike, p: ArrayLike) -> Curve:
    """x: false positive rate; y: true positive rate; from (0, 0) to (1, 1). NaN if a class is missing."""
    tp, fp = _counts(y, p)
    with np.errstate(invalid="ignore"):
        return thin_curve(fp / fp[-1], tp / tp[-1])


def pr_curve(y: ArrayLike, p: ArrayLike) -> Curve:
    """x: recall, ascending from 0; y: precision. NaN without positives."""
    tp, fp = _counts(y, p)
    with np.errstate(invalid="ignore"):
        precision = tp[1:] / (tp[1:] + fp[1:])
        return thin_curve(tp / tp[-1], np.append(precision[:1], precision))


def lift_curve(y: ArrayLike, p: ArrayLike) -> Curve:
    """x: share of rows, highest p first; y: their rate of the positive class divided by that of all rows."""
    tp, fp = _counts(y, p)
    rows, share = tp + fp, np.arange(1, POINTS + 1) / POINTS
    with np.errstate(invalid="ignore"):
        return Curve(share, np.interp(share * rows[-1], rows, tp) / tp[-1] / share)


def calibration(y: ArrayLike, p: ArrayLike, bins: int = 10, *, truth: ArrayLike | None = None) -> Calibration:
    """Predicted and observed rates in at most `bins` bins with about the same number of rows.

    y: n booleans or 0/1; p, truth: n probabilities. Rows with equal p are in the same bin.
    """
    probability = np.asarray(p, np.float64)
    _, bin_of, count = np.unique(probability_bins(probability, bins), return_inverse=True, return_counts=True)

    def mean(values: ArrayLike) -> Doubles:
        return np.bincount(bin_of, np.asarray(values, np.float64), len(count)) / count

    observed = mean(y)
    low, high = _wilson(observed, count)
    return Calibration(mean(probability), observed, low, high, count, None if truth is None else mean(truth))


def probability_bins(p: Doubles, bins: int = 10) -> NDArray[np.int64]:
    """The bin of each of n probabilities, from 0 to `bins` - 1, with about the same number of rows each; equal ones are together."""
    edges = np.quantile(p, np.arange(1, bins) / bins, method="lower") if p.size else p
    return np.searchsorted(edges, p)


def confusion_matrix(y: ArrayLike, predicted: ArrayLike, classes: int, *, weight: ArrayLike | None = None) -> Doubles:
    """Numbers of rows, or their weights, by class (row) and predicted class (column).

    y, predicted: n codes from 0 to `classes` - 1; a y of -1, a class that the model does not know, counts in one more row, the last.
    The matrix has shape (classes + 1, classes) if there is such a row, else (classes, classes).
    """
    truth, guess = np.asarray(y, np.int64), np.asarray(predicted, np.int64)
    unknown = truth < 0
    cells = np.where(unknown, classes, truth) * classes + guess
    weights = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    counts = np.asarray(np.bincount(cells, weights, (classes + 1) * classes), np.float64).reshape(classes + 1, classes)
    return counts if unknown.any() else counts[:classes]


def accuracy_coverage_curve(correct: ArrayLike, confidence: ArrayLike, *, weight: ArrayLike | None = None) -> Curve:
    """x: share of rows that are answered, those with the highest confidence first; y: share of them that are correct.

    correct: n booleans; confidence: n numbers. Rows with equal confidence are answered together.
    """
    certainty = np.asarray(confidence, np.float64)
    weights = np.ones(len(certainty)) if weight is None else np.asarray(weight, np.float64)
    order = np.argsort(-certainty, kind="stable")
    certainty = certainty[order]
    last = np.flatnonzero(np.append(certainty[1:] != certainty[:-1], certainty.size > 0))
    rows, hits = (np.cumsum(values[order])[last] for values in (weights, weights * np.asarray(correct, np.float64)))
    kept = rows > 0
    return thin_curve(rows[kept] / max(rows[-1:], default=1.0), hits[kept] / rows[kept])


def _counts(y: ArrayLike, p: ArrayLike) -> tuple[Doubles, Doubles]:
    positive = np.asarray(y) == 1
    return rank(positive, np.asarray(p, np.float64)).counts(np.ones(len(positive)))


def thin_curve(x: Doubles, y: Doubles) -> Curve:
    """At most `POINTS` points, evenly spaced along the curve, including the first and the last."""
    if len(x) <= POINTS:
        return Curve(x, y)
    steps = [abs(np.diff(c)) for c in (x, y)]
    along = _running(np.sum([s / max(s.sum(), np.finfo(float).tiny) for s in steps], axis=0))
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)))
    return Curve(x[kept], y[kept])


def _wilson(rate: Doubles, count: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    z = 1.959964  # of 95 %
    spread = z * np.sqrt(rate * (1 - rate) / count + (z / count / 2) ** 2)
    centre, scale = rate + z**2 / count / 2, 1 + z**2 / count
    return (centre - spread) / scale, (centre + spread) / scale


def _running(values: Doubles) -> Doubles:
    running = np.zeros(len(values) + 1)
    np.cumsum(values, out=running[1:])
    return running
