"""Ablation: the gain of features, measured by the same model trained without them, on the same rows of the test fold."""

from collections.abc import Sequence
from typing import NamedTuple

from keyfold.conf.label import LabelConf
from keyfold.conf.report import remaining_features
from keyfold.conf.train import Train
from keyfold.evaluation import metrics
from keyfold.evaluation.intervals import Metric
from keyfold.features.spec import Spec
from keyfold.models.member_fits import RunTasks
from keyfold.models.model import Model
from keyfold.training.arrays import ArrayRows
from keyfold.training.variants import Variant, logged_name, train_variant


class Ablation(NamedTuple):
    """The metrics of the model without some features; `gain`: those of the full model minus these."""

    without: list[str]
    metrics: dict[str, Metric]
    gain: dict[str, Metric]

    @property
    def name(self) -> str:
        """A name that MLflow accepts: few special characters, and at most 250 in all."""
        return logged_name("test_without", ".".join(self.without))

    @property
    def measured(self) -> dict[str, Metric]:
        """Metrics and gains (`<name>_gain`) together."""
        return self.metrics | {f"{name}_gain": metric for name, metric in self.gain.items()}


def without_features(spec: Spec, without: Sequence[str]) -> Spec:
    """The spec without some features, and with only the columns that the others need (ConfError as for `remaining_features`)."""
    return spec.only(remaining_features({name: kind for name, (kind, _) in spec.features.items()}, without))


def measure_ablation(
    conf: LabelConf, model: Model, train: Train, rows: ArrayRows, without: list[str], run: RunTasks
) -> Ablation:  # fmt: skip
    """Trains the model without some features, and measures their gain on the test fold."""
    test, spec = rows.fold("test"), without_features(model.spec, without)
    variant = Variant(".".join(without), conf, train, spec, model.label)
    full, (label, less, _) = model.numbers(test.arrays), train_variant(variant, rows, run).predicted
    measured = metrics.measure_predictions(label, test.truth, less, order=test.order)
    gain = metrics.metric_differences(model.label, test.truth, full, less, second_label=label, order=test.order)
    return Ablation(
        without, *({name: metric for name, metric in one.items() if metrics.is_brief(name)} for one in (measured, gain))
    )
