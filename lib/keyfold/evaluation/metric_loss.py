"""What a metric loses if predictions change, with a paired bootstrap interval."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.evaluation.intervals import Metric, bootstrap_values, interval_of
from keyfold.evaluation.measures import Weighted
from keyfold.evaluation.metrics import METRICS
from keyfold.evaluation.row_parts import COSTLY, row_parts
from keyfold.evaluation.sample import checked_sample
from keyfold.labels import Label


class MetricLoss:
    """What a metric loses if the predictions of n rows change; each replicate measures both predictions on the same draw of rows."""

    def __init__(self, label: Label, y: ArrayLike, numbers: ArrayLike, metric: str, *, replicates: int = 100) -> None:
        """y, numbers: as in `metrics.measure_predictions`, in an order that does not change."""
        self.label, self.y, self.metric, self.replicates = label, y, metric, replicates
        self._before = self._measured(numbers, replicates)

    def of(self, changed: Iterable[ArrayLike], *, interval: bool = True) -> Metric:
        """The mean loss over several changed predictions, above 0 if they are worse; `interval`: whether it has one.

        A replicate also draws among the changed predictions, so that chance in them widens the interval. The loss is 0, and so is its
        interval, if all are those of before.
        """
        sign, losses = 1 if METRICS[self.metric].higher_is_better else -1, list[Doubles]()
        for numbers in changed:
            after = self._measured(numbers, self.replicates if interval else 0)
            losses.append(sign * (self._before[: len(after)] - after))
        of_rows, replicated = np.array(losses)[:, 0], np.array(losses)[:, 1:]
        drawn = np.random.default_rng(0).integers(0, len(losses), replicated.shape)
        return interval_of(of_rows.mean(), np.take_along_axis(replicated, drawn, axis=0).mean(axis=0))

    def _measured(self, numbers: ArrayLike, replicates: int) -> Doubles:
        """The metric of the rows, and of each replicate."""
        sample = checked_sample(self.label, self.y, [numbers], None, None)
        kind, parts = METRICS[self.metric], row_parts(self.label, sample.y, sample.predicted[0])
        many = kind.costly and sample.predicted[0].size > COSTLY
        values, replicated = bootstrap_values(
            lambda weight: {"": kind.measure(Weighted(parts, weight))},
            sample.weight,
            replicates if kind.bootstrap and not many else 0,
        )
        return np.append(values[""], replicated[:, 0])
