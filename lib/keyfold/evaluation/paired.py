"""Two models on the same rows: their metrics, and the differences with paired bootstrap intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.evaluation.intervals import Metric, bootstrap_intervals
from keyfold.evaluation.measures import Weighted
from keyfold.evaluation.metrics import METRICS, names_as_numbers
from keyfold.evaluation.row_parts import NumberParts, row_parts, weighted_mean
from keyfold.evaluation.sample import checked_pair
from keyfold.labels import Bands, Label, Number

Measures = Mapping[str, Callable[[Weighted], float]]
THIRDS = ("lowest", "middle", "highest")
_DIFFERENCE, _RATIO = "difference ", "ratio "


class Predicted(NamedTuple):
    """What a model predicts for n rows, as in `metrics.measure_predictions`.

    deviation: the standard deviation of a Gaussian around each predicted number, in its unit; None without a distribution.
    """

    label: Label
    numbers: ArrayLike
    deviation: float | None = None


class PairedMetrics(NamedTuple):
    """Metrics by name: of the first predictions; those minus the metrics of the second, if it has them; and those divided by these."""

    first: dict[str, Metric]
    difference: dict[str, Metric]
    ratio: dict[str, Metric]


def compare_predictions(
    y: ArrayLike,
    first: Predicted,
    second: Predicted,
    measures: Callable[[Predicted], Measures],
    *,
    order: ArrayLike,
    ratios: Sequence[str] = (),
    replicates: int = 200,
) -> PairedMetrics:
    """Compares two predictions of n rows, whose y means the same for both labels.

    measures: those of a prediction. ratios: the names of those that are also divided. Each replicate measures both on the same draw of
    rows, so rows that are hard for both widen no interval. Raises ValueError as `metrics.measure_predictions`.
    """
    of_first, of_second = measures(first), measures(second)
    both = [name for name in of_first if name in of_second]
    sample = checked_pair((first.label, second.label), y, (first.numbers, second.numbers), order)
    one, other = (_parts(of, sample.y, numbers) for of, numbers in zip((first, second), sample.predicted, strict=True))

    def measure(weight: Doubles) -> dict[str, float]:
        weighted, against = Weighted(one, weight), Weighted(other, weight)
        values, others = {name: of(weighted) for name, of in of_first.items()}, {name: of_second[name](against) for name in both}
        divided = {_RATIO + name: _divided(values[name], others[name]) for name in both if name in ratios}
        return values | {_DIFFERENCE + name: values[name] - others[name] for name in both} | divided

    of = bootstrap_intervals(measure, sample.weight, replicates)
    return PairedMetrics(
        *({name: of[prefix + name] for name in of_first if prefix + name in of} for prefix in ("", _DIFFERENCE, _RATIO))
    )


def _parts(predicted: Predicted, y: npt.NDArray[Any], numbers: Doubles) -> Any:
    if isinstance(predicted.label, Number):
        return NumberParts(predicted.label, y, numbers, predicted.deviation)
    return row_parts(predicted.label, y, numbers)


def _divided(value: float, other: float) -> float:
    return value / other if other else np.nan


def number_measures(predicted: Predicted) -> Measures:
    """The measures by which predictions of a number are compared, whether they are numbers or distributions over bands.

    The score of the distribution if there is one, and of an interval its coverage and its width, also the coverage in each third of the
    predicted numbers.
    """
    distribution = isinstance(predicted.label, Bands) or predicted.deviation is not None
    interval = bool(getattr(predicted.label, "interval", None))
    measures = {name: METRICS[name].measure for name in names_as_numbers(distribution=distribution, interval=interval)}
    thirds = {f"coverage_{name}_third": coverage_of_third(place) for place, name in enumerate(THIRDS)}
    return measures | (thirds if interval else {})


def coverage_of_third(place: int) -> Callable[[Weighted], float]:
    """A measure of an interval: its coverage in one third of the rows (0, 1 or 2), in the order of their predicted numbers."""
    return lambda weighted: weighted_mean(weighted.rows.covered, weighted.weight * (weighted.rows.third == place))


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
