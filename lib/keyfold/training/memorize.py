"""Useful overfitting (`train.overfit`): a network memorizes all rows, which is checked against the floor of its loss.

The floor is the lowest loss that any function of the features can have: one prediction per combination of features.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keyfold.core.arrays import Doubles
from keyfold.errors import ConfError, DataError
from keyfold.labels import Binary, Multilabel, Number
from keyfold.models.heads import Head, unpack_bits
from keyfold.training.streams import Cells, Reader, StreamBatch

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.training.loop import Training

NEAR = 0.01  # largest accepted distance from the floor, as a share of that of the best constant


class MemorizedLoss(NamedTuple):
    """Mean losses over the rows that were trained on: of the network, its floor, and that of the best constant."""

    loss: float
    floor: float
    constant: float

    @property
    def is_near(self) -> bool:
        """Whether the loss is at most the target."""
        return self.loss <= self.target

    @property
    def target(self) -> float:
        """The highest accepted loss; if the features are no better than a constant, a little above that of the constant."""
        return self.floor + NEAR * ((self.constant - self.floor) or self.constant or 1.0)


def check_overfit(conf: "Conf") -> None:
    """Raises ConfError for options that contradict `train.overfit`."""
    train = conf.train
    if train is None or not train.overfit:
        return
    if train.model.torch is None:
        raise ConfError("train.overfit is for networks (train.model.torch); leave it out")
    network, loop = train.model.torch.network.chosen, train.model.torch.loop
    for option, value in {"dropout": network.dropout, "weight_decay": loop.weight_decay, "patience": loop.patience}.items():
        if value:
            raise ConfError(f"train.overfit memorizes all rows, which {option} would prevent; leave it out (got {value})")
    if train.tune:
        raise ConfError("train.overfit holds out no row on which trials of train.tune could be measured; leave one of both out")
    if conf.release.promote_if:
        raise ConfError("train.overfit holds out no row on which release.promote_if could be measured; leave it out")
    share = conf.split.share
    if conf.split.time or share.validation or share.test:
        raise ConfError(
            "train.overfit memorizes all rows, so none can be held out: set split.share to {train: 1, validation: 0, test: 0}"
        )


def loss_floor(batches: Iterable[StreamBatch], head: Head, weights: Sequence[float] = ()) -> tuple[float, float]:
    """The lowest mean loss that any function of the features can have over some batches, and that of the best constant.

    Takes about 16 bytes of hash and 24 of sums for each combination of features; of k classes or labels, 8 × (k + 1) of sums.
    """
    sums: dict[bytes, Doubles] = {}
    for batch in batches:
        present = batch.rows.weight > 0
        weight = batch.rows.weighted_by(weights).astype(np.float64)[:, None]
        moments = np.hstack([weight, weight * _targets(head, batch.rows)])[present]
        features = np.ascontiguousarray(batch.rows.features[present]).view(np.uint8)
        combinations, inverse = np.unique(features, axis=0, return_inverse=True)
        totals = np.zeros((len(combinations), moments.shape[1]))
        np.add.at(totals, inverse.reshape(-1), moments)
        for combination, total in zip(combinations, totals, strict=True):
            name = hashlib.blake2b(combination.tobytes(), digest_size=16).digest()
            sums[name] = sums[name] + total if name in sums else total
    groups = np.stack([total for total in sums.values() if total[0] > 0])
    return _lowest_loss(groups, head), _lowest_loss(groups.sum(0, keepdims=True), head)


def _targets(head: Head, rows: Cells) -> Doubles:
    """What is summed up over rows: a number and its square, or whether each class or label is the row's (rows, k)."""
    if head.excludes:
        return np.equal.outer(rows.label, np.arange(head.units)).astype(np.float64)
    if head.kind == Multilabel.kind:
        return unpack_bits(rows.label_bits, head.units).astype(np.float64)
    label = rows.label.astype(np.float64)[:, None]
    return label if head.kind == Binary.kind else np.hstack([label, label * label])


def _lowest_loss(groups: Doubles, head: Head) -> float:
    """The lowest mean loss with one prediction per group (its weight, and weighted sums of targets)."""
    weight, sums = groups[:, 0], groups[:, 1:]
    share = sums / weight[:, None]
    if head.kind == Number.kind:
        return float(np.maximum(sums[:, 1] - sums[:, 0] * share[:, 0], 0).sum() / weight.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = -np.where(share > 0, share * np.log(share), 0)
        loss = loss.sum(axis=1) if head.excludes else (loss - np.where(share < 1, (1 - share) * np.log1p(-share), 0)).mean(axis=1)
    return float((loss * weight).sum() / weight.sum())


def measure_memorized(training: "Training") -> MemorizedLoss:
    """The loss of a trained network over all rows of the train fold, and its floor."""
    data = training.data
    batches = Reader(data.train, 0, 1).batches(0)
    return MemorizedLoss(training.mean_loss(data.train), *loss_floor(batches, data.head, data.weights))


def check_memorized(memorized: MemorizedLoss) -> None:
    """Raises DataError if the loss is too far from its floor."""
    if not memorized.is_near:
        raise DataError(
            f"train.overfit: the loss is {memorized.loss:.4g}, its floor {memorized.floor:.4g}, and a constant reaches "
            f"{memorized.constant:.4g}; more epochs, a larger network or another learning_rate may come nearer"
        )
