"""What features are worth: the same model trained without them, and measured on the same rows of the test fold."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from keyfold.core import digests
from keyfold.errors import ConfError, nearest
from keyfold.evaluation import metrics
from keyfold.evaluation.metrics import Metric
from keyfold.features.kinds import FromFeature, Kind
from keyfold.features.spec import Spec, columns_of
from keyfold.models.model import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keyfold.conf.train import Train
    from keyfold.training.arrays import Set

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


def left(kinds: Mapping[str, Kind], without: Sequence[str]) -> list[str]:
    """The features that are left without some (ConfError for an unknown name, one that another takes, or where none is left)."""
    for name in without:
        if name not in kinds:
            raise ConfError(f"there is no feature `{name}`{nearest(name, kinds)}")
    kept = [name for name in kinds if name not in without]
    for name in kept:
        for other in kinds[name].inputs():
            if isinstance(other, FromFeature) and other.feature in without:
                raise ConfError(f"feature `{name}` takes `{other.feature}`; leave out both, or neither")
    if not kept:
        raise ConfError("no feature would be left")
    return kept


def fewer(spec: Spec, without: Sequence[str]) -> Spec:
    """The spec without some features, of the columns that the others take (ConfError as for `left`)."""
    kept = {name: spec.features[name] for name in left({name: kind for name, (kind, _) in spec.features.items()}, without)}
    columns = columns_of(kind for kind, _ in kept.values())
    return Spec({c: family for c, family in spec.inputs.items() if c in columns}, kept)


def ablated(
    model: Model, train: "Train", learnt: "Set", test: "Set", weight: "npt.NDArray[np.float64] | None", without: list[str]
) -> Ablation:
    """Trains the model's estimator once more, without some features, and measures what they gain."""
    spec, classes = fewer(model.spec, without), model.label.classes
    assert train.model.sklearn is not None
    estimator = train.model.sklearn.fit(spec, learnt.arrays, learnt.y, weight, train.seed)
    arrays = test.arrays
    full, less = (made.probability(arrays) if classes else made.value(arrays) for made in (model.estimator, estimator))
    of = metrics.classification if classes else metrics.regression
    found = of(test.y, less, order=test.order), metrics.difference(test.y, full, less, order=test.order, classes=classes)
    return Ablation(without, *({name: metric for name, metric in one.items() if name in SHOWN} for one in found))
