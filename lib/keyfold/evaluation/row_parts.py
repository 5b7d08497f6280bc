"""What the metrics of a kind of label need of each row, computed once for all replicates of a bootstrap."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.evaluation import by_row
from keyfold.evaluation.curves import Ranking, probability_bins, rank
from keyfold.labels import Bands, Binary, Classes, Label, Multilabel, Neutral, Number

COSTLY = 5_000_000  # rows × classes, above which costly metrics have no interval
_EPS = np.finfo(float).eps  # of a logarithm, as in scikit-learn


class Tallies(NamedTuple):
    """Weights of rows by class or label (k): that have it, that are predicted to have it, and both."""

    true: Doubles
    predicted: Doubles
    hit: Doubles


class PointParts:
    """Of a true and a predicted number. truth, point: n numbers."""

    def __init__(self, truth: Doubles, point: Doubles) -> None:
        self.truth, self.point = truth, point

    @cached_property
    def error(self) -> Doubles:
        """Truth minus prediction."""
        return self.truth - self.point

    @cached_property
    def squared_error(self) -> Doubles:
        """The square of the error."""
        return self.error**2

    @cached_property
    def centred(self) -> Doubles:
        """Truth minus the mean truth."""
        return self.truth - weighted_mean(self.truth, np.ones(len(self.truth)))


class IntervalParts(PointParts):
    """Of a true number, a predicted one, and an interval that should cover the share `share` of the rows."""

    def __init__(
        self, truth: Doubles, point: Doubles, bounds: Callable[[], tuple[Doubles, Doubles]], share: float | None
    ) -> None:
        super().__init__(truth, point)
        self._bounds, self._share = bounds, share

    @cached_property
    def bounds(self) -> tuple[Doubles, Doubles]:
        """The lower and the upper ends."""
        return self._bounds()

    @cached_property
    def covered(self) -> Doubles:
        """1 where the truth is in the interval, ends included, else 0."""
        low, high = self.bounds
        return ((low <= self.truth) & (self.truth <= high)).astype(np.float64)

    @cached_property
    def width(self) -> Doubles:
        """The width of the interval."""
        return self.bounds[1] - self.bounds[0]

    @cached_property
    def third(self) -> Int64s:
        """The third of the rows in the order of their predicted numbers: 0, 1 or 2; equal numbers are in one third."""
        return np.searchsorted(np.quantile(self.point, [1 / 3, 2 / 3]), self.point)

    @cached_property
    def pinball_loss(self) -> Doubles:
        """The mean of the pinball losses of both ends, as quantiles that leave out half of the rest each."""
        assert self._share is not None
        tail = (1 - self._share) / 2
        low, high = (self.truth - end for end in self.bounds)
        return (np.maximum(tail * low, (tail - 1) * low) + np.maximum((1 - tail) * high, -tail * high)) / 2


class NumberParts(IntervalParts):
    """Of a number. y, predicted: (n,). deviation: the standard deviation of a Gaussian around the predicted number, if there is one."""

    def __init__(self, label: Number, y: Doubles, predicted: Doubles, deviation: float | None = None) -> None:
        super().__init__(y, predicted, lambda: label.bounds(predicted), label.interval)
        self._deviation = deviation

    @cached_property
    def crps(self) -> Doubles:
        """The continuous ranked probability score of the Gaussian."""
        assert self._deviation is not None
        return by_row.gaussian_crps(self.truth, self.point, self._deviation)


class ClassParts:
    """Of classes. codes: (n,) from 0 to k, k for an unknown class; p: (n, k); decided: (n,) codes."""

    def __init__(self, codes: Int64s, p: Doubles, decided: Int64s) -> None:
        self.codes, self.p, self.decided = codes, p, decided

    def tallies(self, weight: Doubles) -> Tallies:
        """Weights by class, those of an unknown class last."""
        classes = self.p.shape[1] + 1
        true, predicted = (_sums(codes, weight, classes) for codes in (self.codes, self.decided))
        return Tallies(true, predicted, _sums(self.codes, weight * self.correct, classes))

    @cached_property
    def correct(self) -> Doubles:
        """1 where the predicted class is the true one, else 0."""
        return (self.codes == self.decided).astype(np.float64)

    @cached_property
    def of_truth(self) -> Doubles:
        """The probability of the true class, 0 if it is unknown."""
        known = self.codes < self.p.shape[1]
        return np.where(known, self.p[np.arange(len(self.codes)), np.where(known, self.codes, 0)], 0.0)

    @cached_property
    def log_loss(self) -> Doubles:
        """Minus the logarithm of the probability of the true class."""
        return -np.log(np.clip(self.of_truth, _EPS, 1 - _EPS))

    @cached_property
    def in_top(self) -> Doubles:
        """1 where the true class is one of the three most probable ones, else 0; of equals, the first are more probable."""
        return by_row.by_blocks(by_row.in_top, self.p, self.of_truth, self.codes)

    @property
    def rankings(self) -> Iterable[Ranking]:
        """The rows by descending probability of each class, which are kept only if they are small."""
        return self._rankings if self.p.size <= COSTLY else self._rank()

    @cached_property
    def _rankings(self) -> list[Ranking]:
        return list(self._rank())

    def _rank(self) -> Iterable[Ranking]:
        return (rank(self.codes == code, column) for code, column in enumerate(self.p.T))

    @cached_property
    def excess(self) -> tuple[Int64s, Doubles]:
        """The bin of each row by the probability of its predicted class, and what is observed minus that probability."""
        p = self.p[np.arange(len(self.decided)), self.decided]
        return probability_bins(p), self.correct - p


class NeutralParts(ClassParts):
    """Of classes with a neutral answer. codes, p: as of classes."""

    def __init__(self, label: Neutral, codes: Int64s, p: Doubles) -> None:
        super().__init__(codes, p, label.decide(p))
        self._label = label

    @cached_property
    def answered(self) -> Doubles:
        """1 where the row is answered, 0 where it is declined."""
        return (~self._label.declines(self.p)).astype(np.float64)

    @cached_property
    def neutral(self) -> Doubles:
        """1 where the row is neutral, else 0."""
        return (self.codes == len(self._label.answers)).astype(np.float64) * (self._label.abstain is None)


class BandParts(IntervalParts, ClassParts):
    """Of a number that is predicted as a distribution over bands. y: n numbers; p: (n, k)."""

    def __init__(self, label: Bands, y: Doubles, p: Doubles) -> None:
        IntervalParts.__init__(self, y, label.point(p), lambda: label.bounds(p), label.interval)
        ClassParts.__init__(self, label.codes(y), p, label.decide(p))
        self._label = label

    @cached_property
    def crps(self) -> Doubles:
        """The continuous ranked probability score of the distribution."""

        def crps(y: Doubles, p: Doubles) -> Doubles:
            ends, pieces = self._label.pieces(p)
            return by_row.crps(ends, y, pieces)

        return by_row.by_blocks(crps, self.truth, self.p)


class BinaryParts(PointParts):
    """Of two classes. truth: n numbers, 1 for the positive class, else 0; p: n probabilities of it."""

    def __init__(self, label: Binary, truth: Doubles, p: Doubles) -> None:
        super().__init__(truth, p)
        self._label = label

    @cached_property
    def ranking(self) -> Ranking:
        """The rows by descending probability."""
        return rank(self.truth == 1, self.point)

    @cached_property
    def log_loss(self) -> Doubles:
        """Minus the logarithm of the probability of the row's class."""
        return -np.log(np.clip(np.where(self.truth == 1, self.point, 1 - self.point), _EPS, 1 - _EPS))

    @cached_property
    def _cells(self) -> Int64s:
        return 2 * (self.truth == 1) + self._label.decide(self.point).astype(np.int64)

    def tallies(self, weight: Doubles) -> Tallies:
        """Weights of the negative and of the positive class."""
        tn, fp, fn, tp = np.bincount(self._cells, weight, 4)
        return Tallies(np.array([tn + fp, fn + tp]), np.array([tn + fn, fp + tp]), np.array([tn, tp]))

    @cached_property
    def excess(self) -> tuple[Int64s, Doubles]:
        """The bin of each row by its probability, and the class minus the probability."""
        return probability_bins(self.point), self.error


class LabelParts:
    """Of several labels. y: (n, k) booleans; p: (n, k) probabilities."""

    def __init__(self, label: Multilabel, y: Bools, p: Doubles) -> None:
        self.y, self.p, self.decided = y, p, label.decide(p)

    def tallies(self, weight: Doubles) -> Tallies:
        """Weights by label."""
        return Tallies(*(_sums(code, weight.take(row), self.y.shape[1]) for row, code in self._pairs))

    @cached_property
    def _pairs(self) -> list[tuple[Int64s, Int64s]]:
        """Row and label where they are true, where they are predicted, and where both."""
        (row, code), (decided_row, decided_code) = np.nonzero(self.y), np.nonzero(self.decided)
        hit = self.decided[row, code]
        return [(row, code), (decided_row, decided_code), (row[hit], code[hit])]

    @cached_property
    def correct(self) -> Doubles:
        """1 where exactly the true labels are predicted, else 0."""
        return (self.y == self.decided).all(axis=1).astype(np.float64)

    @cached_property
    def wrong(self) -> Doubles:
        """The share of the labels that are wrong."""
        return (self.y != self.decided).mean(axis=1)

    @cached_property
    def f1(self) -> Doubles:
        """The F1 score of each row's labels; 1 where none is true and none is predicted."""
        both = self.y.sum(axis=1) + self.decided.sum(axis=1)
        return np.where(both > 0, 2 * (self.y & self.decided).sum(axis=1) / np.maximum(both, 1), 1.0)

    @cached_property
    def log_loss(self) -> Doubles:
        """The mean of the labels' log losses."""
        return by_row.by_blocks(lambda y, p: -np.log(np.clip(np.where(y, p, 1 - p), _EPS, 1 - _EPS)).mean(axis=1), self.y, self.p)

    @cached_property
    def ranking_precision(self) -> Doubles:
        """For each row, the mean over its labels of the share of true ones among those that are as probable; 1 if all or none is true."""
        return by_row.by_blocks(by_row.ranking_precision, self.y, self.p)

    @cached_property
    def labels_to_cover(self) -> Doubles:
        """The number of the most probable labels that have all true ones among them; 0 without a true one."""
        return by_row.by_blocks(
            lambda y, p: np.where(y.any(axis=1), (p >= np.where(y, p, np.inf).min(axis=1)[:, None]).sum(axis=1), 0),
            self.y,
            self.p,
        )


def row_parts(label: Label, y: npt.NDArray[Any], predicted: Doubles) -> Any:
    """The parts of the rows of a kind of label. y, predicted: as for `measure_predictions`, already checked."""
    match label:
        case Number():
            return NumberParts(label, y, predicted)
        case Binary():
            return BinaryParts(label, y, predicted)
        case Bands():
            return BandParts(label, y, predicted)
        case Neutral():
            return NeutralParts(label, np.where(y < 0, label.width, y).astype(np.int64), predicted)
        case Classes():
            return ClassParts(np.where(y < 0, label.width, y).astype(np.int64), predicted, label.decide(predicted))
        case Multilabel():
            return LabelParts(label, y, predicted)
    raise TypeError(f"no metrics for a label of kind {label.kind}")


def weighted_mean(values: Doubles, weight: Doubles) -> float:
    """The weighted mean; NaN without weight."""
    # Not BLAS, whose order of additions depends on the number of cores.
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else np.nan


def _sums(codes: Int64s, weight: Doubles, classes: int) -> Doubles:
    return np.asarray(np.bincount(codes, weight, classes), np.float64)
