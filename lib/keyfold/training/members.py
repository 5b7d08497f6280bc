"""The members of an ensemble, each alone, and what the whole gains over each, on the same rows of the test fold."""

import time
from typing import NamedTuple

from keyfold.conf.label import LabelConf
from keyfold.core.arrays import Doubles
from keyfold.evaluation import metrics
from keyfold.evaluation.intervals import Metric
from keyfold.features.spec import FeatureArrays
from keyfold.models.ensemble import Ensemble
from keyfold.models.model import Model
from keyfold.training.answers import complete_model
from keyfold.training.arrays import ArrayRows

MOST = 10  # members that are measured


class MeasuredMember(NamedTuple):
    """A member, or the whole (`name` is empty): its weight, its metrics, the gain of the whole over it, and seconds per million rows."""

    name: str
    weight: float | None
    metrics: dict[str, Metric]
    gain: dict[str, Metric]
    seconds: float

    @property
    def measured(self) -> dict[str, Metric]:
        """Metrics and gains (`<name>_gain`) together."""
        return self.metrics | {f"{name}_gain": metric for name, metric in self.gain.items()}


def measure_members(conf: LabelConf, model: Model, ensemble: Ensemble, rows: ArrayRows) -> list[MeasuredMember]:
    """The whole model, and the first members of its ensemble as models, completed on the validation fold as the whole is."""
    weights = [None] * len(ensemble.members) if ensemble.meta else ensemble.weights.tolist()
    members = list(zip(ensemble.members.items(), weights, strict=True))[:MOST]
    test, validation = rows.fold("test"), rows.fold("validation")
    arrays, truth, order = test.arrays, test.truth, test.order
    whole, seconds = _predict(model, arrays, len(order))
    measured = [
        MeasuredMember("", None, _brief(metrics.measure_predictions(model.label, truth, whole, order=order)), {}, seconds)
    ]
    for (name, member), weight in members:
        alone = complete_model(conf, model._replace(estimator=member), validation)
        numbers, seconds = _predict(alone, arrays, len(order))
        of = metrics.measure_predictions(alone.label, truth, numbers, order=order)
        gain = metrics.metric_differences(model.label, truth, whole, numbers, second_label=alone.label, order=order)
        measured.append(MeasuredMember(name, weight, _brief(of), _brief(gain), seconds))
    return measured


def _predict(model: Model, arrays: FeatureArrays, rows: int) -> tuple[Doubles, float]:
    """The numbers, and the seconds per million rows."""
    start = time.perf_counter()
    return model.numbers(arrays), (time.perf_counter() - start) / rows * 1e6


def _brief(measured: dict[str, Metric]) -> dict[str, Metric]:
    return {name: metric for name, metric in measured.items() if metrics.is_brief(name)}
