"""Two models on the same rows: their metrics, and the differences with paired bootstrap intervals."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.evaluation.intervals import Metric, bootstrap_intervals
from keyfold.evaluation.measures import Weighted
from keyfold.evaluation.row_parts import row_parts
from keyfold.evaluation.sample import checked_sample
from keyfold.labels import Label

Measures = Mapping[str, Callable[[Weighted], float]]
_DIFFERENCE = "difference "


class PairedMetrics(NamedTuple):
    """Metrics by name: of the first predictions, and those minus the metrics of the second."""

    first: dict[str, Metric]
    difference: dict[str, Metric]


def compare_predictions(
    label: Label,
    y: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    measures: Measures,
    *,
    order: ArrayLike,
    replicates: int = 200,
) -> PairedMetrics:
    """Compares two predictions of n rows, which are as in `metrics.measure_predictions`.

    Each replicate measures both on the same draw of rows, so rows that are hard for both widen no interval.
    """
    sample = checked_sample(label, y, [first, second], None, order)
    one, other = (row_parts(label, sample.y, predicted) for predicted in sample.predicted)

    def measure(weight: Doubles) -> dict[str, float]:
        values, others = (
            {name: of(weighted) for name, of in measures.items()} for weighted in (Weighted(one, weight), Weighted(other, weight))
        )
        return values | {_DIFFERENCE + name: value - others[name] for name, value in values.items()}

    of = bootstrap_intervals(measure, sample.weight, replicates)
    return PairedMetrics(*({name: of[prefix + name] for name in measures} for prefix in ("", _DIFFERENCE)))


def recall_at_precision(precision: float) -> Callable[[Weighted], float]:
    """A measure of a binary label: the highest recall of a threshold with at least that precision, 0 if no threshold has it."""

    def measure(weighted: Weighted) -> float:
        tp, fp = weighted.counts
        if tp[-1] <= 0:
            return np.nan
        reached = tp[1:] >= precision * (tp + fp)[1:]
        return float(tp[1:][reached].max(initial=0) / tp[-1])

    return measure


def mean_over_rate(weighted: Weighted) -> float:
    """A measure of a binary label, calibration in the large: the mean probability over the rate of the positive class; 1 is best."""
    rate = weighted.mean(weighted.rows.truth)
    return weighted.mean(weighted.rows.point) / rate if rate > 0 else np.nan
