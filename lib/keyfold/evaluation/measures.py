"""Metrics as functions of weighted rows."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from keyfold.core.arrays import Doubles
from keyfold.evaluation.curves import Ranking
from keyfold.evaluation.row_parts import Tallies, weighted_mean


class Weighted:
    """The parts of the rows (of `keyfold.evaluation.row_parts`) with a weight of each row: of all, or of one bootstrap replicate."""

    def __init__(self, rows: Any, weight: Doubles) -> None:
        self.rows, self.weight = rows, weight

    @cached_property
    def counts(self) -> tuple[Doubles, Doubles]:
        """Weights of true and of false positives at each threshold, from 0 to all."""
        ranking: Ranking = self.rows.ranking
        return ranking.counts(self.weight)

    @cached_property
    def tallies(self) -> Tallies:
        """Weights by class or label."""
        tallies: Tallies = self.rows.tallies(self.weight)
        return tallies

    def mean(self, values: Doubles) -> float:
        """The weighted mean of a value of each row."""
        return weighted_mean(values, self.weight)


def mean_of(part: str) -> Callable[[Weighted], float]:
    """The weighted mean of a part of the rows."""
    return lambda weighted: weighted.mean(getattr(weighted.rows, part))


def roc_auc(weighted: Weighted) -> float:
    """The area under the ROC curve."""
    return _area(*weighted.counts)


def roc_auc_ovr(weighted: Weighted) -> float:
    """The mean area under the ROC curve of each class against the others, of the classes that some rows have and others have not."""
    return _mean_of_defined(np.array([_area(*ranking.counts(weighted.weight)) for ranking in weighted.rows.rankings]))


def average_precision(weighted: Weighted) -> float:
    """The mean precision over the gains of recall."""
    tp, fp = weighted.counts
    # Not 0 / 0 in a replicate whose first rows have weight 0: without a gain, the precision does not matter.
    precision = tp[1:] / np.maximum((tp + fp)[1:], np.finfo(float).tiny)
    return np.sum(np.diff(tp) * precision) / tp[-1] if tp[-1] > 0 and fp[-1] > 0 else np.nan


def lift_top_decile(weighted: Weighted) -> float:
    """The rate of the positive class among the tenth of the rows with the highest probability, over that of all rows."""
    tp, fp = weighted.counts
    rows = tp + fp
    return np.interp(rows[-1] / 10, rows, tp) * 10 / tp[-1] if tp[-1] > 0 else np.nan


def rmse(weighted: Weighted) -> float:
    """The root mean squared error."""
    return weighted.mean(weighted.rows.squared_error) ** 0.5


def r2(weighted: Weighted) -> float:
    """The share of the variance that is predicted."""
    centred = weighted.rows.centred
    variance = weighted.mean(centred**2) - weighted.mean(centred) ** 2
    return 1 - weighted.mean(weighted.rows.squared_error) / variance if variance > 0 else np.nan


def accuracy(weighted: Weighted) -> float:
    """The share of the rows whose class is predicted."""
    return _ratio(weighted.tallies.hit.sum(), weighted.tallies.true.sum())


def balanced_accuracy(weighted: Weighted) -> float:
    """The mean recall of the classes that some rows have."""
    true, _, hit = weighted.tallies
    return _mean_of_defined(_ratios(hit, true))


def macro_f1(weighted: Weighted) -> float:
    """The mean F1 score of the classes or labels that some rows have, or are predicted to have."""
    true, predicted, hit = weighted.tallies
    return _mean_of_defined(_ratios(2 * hit, true + predicted))


def micro_f1(weighted: Weighted) -> float:
    """The F1 score of all pairs of a row and its class or label."""
    true, predicted, hit = (of.sum() for of in weighted.tallies)
    return _ratio(2 * hit, true + predicted)


def precision(weighted: Weighted) -> float:
    """The share of the rows predicted to be positive that are; NaN without one."""
    return _ratio(weighted.tallies.hit[1], weighted.tallies.predicted[1])


def recall(weighted: Weighted) -> float:
    """The share of the positive rows that are predicted to be; NaN without one."""
    return _ratio(weighted.tallies.hit[1], weighted.tallies.true[1])


def f1(weighted: Weighted) -> float:
    """The F1 score of the positive class."""
    true, predicted, hit = (of[1] for of in weighted.tallies)
    return _ratio(2 * hit, true + predicted)


def calibration_error(weighted: Weighted) -> float:
    """The mean distance of predicted and observed rates, over ten bins with about as many rows each (as `curves.calibration`)."""
    bins, excess = weighted.rows.excess
    return _ratio(np.abs(np.bincount(bins, weighted.weight * excess)).sum(), weighted.weight.sum())


def answered_accuracy(weighted: Weighted) -> float:
    """The share of the rows whose class is predicted, of those that are answered and are not neutral."""
    rows = weighted.rows
    counted = weighted.weight * rows.answered * (1 - rows.neutral)
    return _ratio((counted * rows.correct).sum(), counted.sum())


def answered_neutral(weighted: Weighted) -> float:
    """The share of neutral rows among those that are answered."""
    answered = weighted.weight * weighted.rows.answered
    return _ratio((answered * weighted.rows.neutral).sum(), answered.sum())


def _area(tp: Doubles, fp: Doubles) -> float:
    positive, negative = tp[-1], fp[-1]
    return np.sum(np.diff(fp) * (tp[1:] + tp[:-1])) / (2 * positive * negative) if positive > 0 and negative > 0 else np.nan


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else np.nan


def _ratios(part: Doubles, whole: Doubles) -> Doubles:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean_of_defined(values: Doubles) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else np.nan
