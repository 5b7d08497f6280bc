"""What features are worth: the same model trained without them, and measured on the same rows of the test fold."""

import re
from typing import TYPE_CHECKING, NamedTuple

from keyfold import digests, metrics
from keyfold.metrics import Metric
from keyfold.models import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keyfold.training import Set, Train

SHOWN = ("roc_auc", "log_loss", "rmse", "mae", "r2")  # of those that were measured


class Ablation(NamedTuple):
    """The metrics of the model without some features; `gain`: those of the model with them, less these."""

    without: list[str]
    metrics: dict[str, Metric]
    gain: dict[str, Metric]

    @property
    def name(self) -> str:
        """For MLflow, whose names have few signs and at most 250 of them."""
        plain = re.sub(r"[^\w. -]", lambda sign: f"_{ord(sign[0]):x}_", ".".join(self.without))
        return f"test_without_{plain if len(plain) < 200 else digests.digest(plain)}"

    @property
    def measured(self) -> dict[str, Metric]:
        """Both under one roof."""
        return self.metrics | {f"{name}_gain": metric for name, metric in self.gain.items()}


def ablation(
    model: Model, train: "Train", learnt: "Set", test: "Set", weight: "npt.NDArray[np.float64] | None", without: list[str]
) -> Ablation:
    """Trains the model's estimator once more, without some features, and measures what they gain."""
    spec, classes = model.spec.without(without), model.label.classes
    estimator = train.model.sklearn.fit(spec, learnt.arrays, learnt.y, weight, train.seed)
    arrays = test.arrays
    full, less = (made.probability(arrays) if classes else made.value(arrays) for made in (model.estimator, estimator))
    of = metrics.classification if classes else metrics.regression
    found = of(test.y, less, order=test.order), metrics.difference(test.y, full, less, order=test.order, classes=classes)
    return Ablation(without, *({name: metric for name, metric in one.items() if name in SHOWN} for one in found))
