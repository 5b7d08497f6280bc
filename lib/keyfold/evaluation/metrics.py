"""The table of metrics: a new metric is an entry of `METRICS` and its function; conf, search, promotion and page follow."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.evaluation.curves import Ranking, rank
from keyfold.evaluation.intervals import Metric, bootstrap_intervals


class Predictions:
    """Labels (n) and predictions (n), and row-by-row values that the metrics share; label 1 is the positive class."""

    def __init__(self, truth: Doubles, predicted: Doubles) -> None:
        self.truth, self.predicted = truth, predicted

    @cached_property
    def ranking(self) -> Ranking:
        """The rows by descending probability."""
        return rank(self.truth == 1, self.predicted)

    @cached_property
    def log_loss(self) -> Doubles:
        """Minus the logarithm of the probability of the row's class."""
        eps = np.finfo(float).eps
        loss: Doubles = -np.log(np.clip(np.where(self.truth == 1, self.predicted, 1 - self.predicted), eps, 1 - eps))
        return loss

    @cached_property
    def error(self) -> Doubles:
        """Label minus prediction."""
        return self.truth - self.predicted

    @cached_property
    def squared_error(self) -> Doubles:
        """The square of the error."""
        return self.error**2

    @cached_property
    def centred(self) -> Doubles:
        """Label minus the mean label."""
        return self.truth - _mean(self.truth, np.ones(len(self.truth)))


class Weighted:
    """Predictions with a weight of each row: of all rows, or of one bootstrap replicate."""

    def __init__(self, rows: Predictions, weight: Doubles) -> None:
        self.rows, self.weight = rows, weight

    @cached_property
    def counts(self) -> tuple[Doubles, Doubles]:
        """Weights of true and of false positives at each threshold, from 0 to all."""
        return self.rows.ranking.counts(self.weight)

    def mean(self, values: Doubles) -> float:
        """The weighted mean of a value of each row."""
        return _mean(values, self.weight)


def _roc_auc(weighted: Weighted) -> float:
    tp, fp = weighted.counts
    positive, negative = tp[-1], fp[-1]
    return np.sum(np.diff(fp) * (tp[1:] + tp[:-1])) / (2 * positive * negative) if positive > 0 and negative > 0 else np.nan


def _average_precision(weighted: Weighted) -> float:
    tp, fp = weighted.counts
    # Not 0 / 0 in a replicate whose first rows have weight 0: without a gain, the precision does not matter.
    precision = tp[1:] / np.maximum((tp + fp)[1:], np.finfo(float).tiny)
    return np.sum(np.diff(tp) * precision) / tp[-1] if tp[-1] > 0 and fp[-1] > 0 else np.nan


def _lift_top_decile(weighted: Weighted) -> float:
    tp, fp = weighted.counts
    rows = tp + fp
    return np.interp(rows[-1] / 10, rows, tp) * 10 / tp[-1] if tp[-1] > 0 else np.nan


def _r2(weighted: Weighted) -> float:
    centred = weighted.rows.centred
    variance = weighted.mean(centred**2) - weighted.mean(centred) ** 2
    return 1 - weighted.mean(weighted.rows.squared_error) / variance if variance > 0 else np.nan


class MetricKind(NamedTuple):
    """A metric of probabilities (`classes`) or of predicted numbers.

    measure: its value, NaN if undefined. label: its name on the page. brief: whether lists of versions and ablations show it, too.
    """

    measure: Callable[[Weighted], float]
    classes: bool
    label: str
    higher_is_better: bool
    brief: bool = True


METRICS = {
    "roc_auc": MetricKind(_roc_auc, classes=True, label="ROC AUC", higher_is_better=True),
    "pr_auc": MetricKind(_average_precision, classes=True, label="PR AUC", higher_is_better=True, brief=False),
    "lift_top_decile": MetricKind(_lift_top_decile, classes=True, label="Top-decile lift", higher_is_better=True, brief=False),
    "log_loss": MetricKind(lambda w: w.mean(w.rows.log_loss), classes=True, label="Log loss", higher_is_better=False),
    "brier": MetricKind(
        lambda w: w.mean(w.rows.squared_error), classes=True, label="Brier score", higher_is_better=False, brief=False
    ),
    "rmse": MetricKind(lambda w: w.mean(w.rows.squared_error) ** 0.5, classes=False, label="RMSE", higher_is_better=False),
    "mae": MetricKind(lambda w: w.mean(abs(w.rows.error)), classes=False, label="MAE", higher_is_better=False),
    "r2": MetricKind(_r2, classes=False, label="R²", higher_is_better=True),
}
MAIN_FOR_CLASSES, MAIN_FOR_NUMBERS = "roc_auc", "r2"  # the metric of a verdict, unless the conf names one
LOSS_FOR_CLASSES, LOSS_FOR_NUMBERS = "log_loss", "rmse"  # the metric that selects the best trial, unless the conf names one

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[*METRICS]


def names_for(*, classes: bool) -> list[str]:
    """The names of the metrics of probabilities, or of predicted numbers."""
    return [name for name, metric in METRICS.items() if metric.classes == classes]


def main_metric(measured: Iterable[str]) -> str:
    """The main metric among those that were measured."""
    return MAIN_FOR_CLASSES if MAIN_FOR_CLASSES in measured else MAIN_FOR_NUMBERS


def is_brief(name: str) -> bool:
    """Whether lists of versions and ablations show a metric."""
    return name in METRICS and METRICS[name].brief


def metric_label(name: str) -> str:
    """The name of a metric on the page; a name that is not in `METRICS` stays as it is."""
    return METRICS[name].label if name in METRICS else name


def metric_heading(name: str) -> str:
    """The name of a metric on the page with an arrow to the better side."""
    return f"{metric_label(name)} {'↑' if METRICS[name].higher_is_better else '↓'}" if name in METRICS else name


def measure_predictions(
    y: ArrayLike, predicted: ArrayLike, *, classes: bool, weight: ArrayLike | None = None, order: ArrayLike | None = None,
    replicates: int = 200, seed: int = 0,
) -> dict[str, Metric]:  # fmt: skip
    """The metrics of probabilities (`classes`) or of predicted numbers, with their intervals, by name.

    y: n booleans or 0/1 for classes, else n finite numbers; predicted: n probabilities of the positive class, or n finite numbers;
    weight: n numbers >= 0.
    order: n integers, one per row; with them, the result has the same bits for any order of the rows.
    The AUCs are NaN if a class is missing. Rows with equal p are ranked equally, so ties are not broken by chance.
    Raises ValueError for different lengths, NaN, or values out of range.
    """
    caller = "classification" if classes else "regression"
    truth, numbers, weights = _sample(caller, y, predicted, weight, order)
    return bootstrap_intervals(_measure(truth, numbers, classes=classes), weights, replicates, seed)


def metric_differences(
    y: ArrayLike, first: ArrayLike, second: ArrayLike, *, classes: bool = True, order: ArrayLike | None = None,
    replicates: int = 200,
) -> dict[str, Metric]:  # fmt: skip
    """Each metric of the first n predictions minus that of the second, with paired bootstrap intervals.

    Each replicate measures both on the same draw of rows, so that rows which are easy or hard for both do not widen the interval.
    classes: predictions are probabilities, else numbers, as in `measure_predictions`.
    """
    truth, one, other, weights = _sample("difference", y, first, None, order, second)
    measure_one, measure_other = (_measure(truth, numbers, classes=classes) for numbers in (one, other))

    def difference(weight: Doubles) -> dict[str, float]:
        subtrahend = measure_other(weight)
        return {name: value - subtrahend[name] for name, value in measure_one(weight).items()}

    return bootstrap_intervals(difference, weights, replicates)


def _measure(truth: Doubles, predicted: Doubles, *, classes: bool) -> Callable[[Doubles], dict[str, float]]:
    """A function that returns the metrics for weights of the rows."""
    if classes and np.any((truth != 0) & (truth != 1)):
        raise ValueError("The y of classification must be booleans, or 0 and 1.")
    if classes and np.any((predicted < 0) | (predicted > 1)):
        raise ValueError("The p of classification must be from 0 to 1.")
    rows, names = Predictions(truth, predicted), names_for(classes=classes)

    def measure(weight: Doubles) -> dict[str, float]:
        weighted = Weighted(rows, weight)
        return {name: METRICS[name].measure(weighted) for name in names}

    return measure


def _sample(
    caller: str, y: ArrayLike, p: ArrayLike, weight: ArrayLike | None, order: ArrayLike | None, *more: ArrayLike
) -> tuple[Doubles, ...]:
    """Checked columns, the weight last, sorted so that the order of the rows does not matter."""
    columns = [np.asarray(c, np.float64) for c in (y, p, *more, np.ones(np.shape(y)) if weight is None else weight)]
    for name, column in zip(("y", *["predictions"] * (1 + len(more)), "weight"), columns, strict=True):
        if column.ndim != 1 or len(column) != len(columns[0]) or not np.isfinite(column).all():
            raise ValueError(f"The {name} of {caller} must be one finite number per row, {len(columns[0])} in all.")
    if np.any(columns[-1] < 0):
        raise ValueError(f"The weight of {caller} must be 0 or more. Got {columns[-1].min()} instead.")
    if order is not None:
        sorted_rows = np.lexsort((*columns, np.asarray(order, np.int64)))
        columns = [c[sorted_rows] for c in columns]
    return tuple(columns)


def _mean(values: Doubles, weight: Doubles) -> float:
    # Not BLAS, whose order of additions depends on the number of cores.
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else np.nan
