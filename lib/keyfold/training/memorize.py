"""Learning by heart: of all rows, where they are all that can be asked (useful overfitting), or of one batch, to see whether it can be done at all.

What can be reached is the floor: the loss of whoever answers each combination of features as well as one answer can.
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.errors import ConfError, DataError
from keyfold.reporting import page
from keyfold.training import streams
from keyfold.training.streams import StreamBatch

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.runtime.run import Run
    from keyfold.training.loop import Training, TrainingData

NEAR = 0.01  # of the way from the floor to the loss of a constant
STEPS = 1_000
_Doubles = npt.NDArray[np.float64]


class MemorizedLoss(NamedTuple):
    """Mean losses of a training's own rows: of the network, of the floor, and of the best constant."""

    loss: float
    floor: float
    constant: float

    @property
    def near(self) -> bool:
        """Whether it is as near as can be asked."""
        return self.loss <= self.enough

    @property
    def enough(self) -> float:
        """A loss that is near; where a constant is as good as the features, near the constant."""
        return self.floor + NEAR * ((self.constant - self.floor) or self.constant or 1.0)


def check_overfit(conf: "Conf") -> None:
    """What does not go with `train.overfit` (ConfError)."""
    train = conf.train
    if train is None or not train.overfit:
        return
    if train.model.torch is None:
        raise ConfError("train.overfit is for networks (train.model.torch); leave it out")
    network, loop = train.model.torch.network.chosen, train.model.torch.loop
    given = {"dropout": network.dropout, "weight_decay": loop.weight_decay, "patience": loop.patience}
    for option, value in given.items():
        if value:
            raise ConfError(
                f"train.overfit learns all rows by heart, which {option} is there to prevent; leave it out (got {value})"
            )
    if train.tune:
        raise ConfError("train.overfit holds no row out that a trial of train.tune could be measured on; leave one of both out")
    if conf.release.promote_if:
        raise ConfError("train.overfit holds no row out that release.promote_if could be measured on; leave it out")
    share = conf.split.share
    if conf.split.time or share.validation or share.test:
        raise ConfError(
            "train.overfit learns all rows, so none can be held out: set split.share to {train: 1, validation: 0, test: 0}"
        )


def loss_floor(some: Iterable[StreamBatch], weights: tuple[float, float], *, classifies: bool) -> tuple[float, float]:
    """The least mean loss that any function of the features can have over batches, and that of the best constant.

    Memory is by the combinations of features, 16 bytes of hash and 24 of sums each.
    """
    sums: dict[bytes, _Doubles] = {}
    for batch in some:
        label, weight = batch.rows.label.astype(np.float64), batch.rows.weight.astype(np.float64)
        weight = weight * np.where(label > 0, weights[1], weights[0])
        rows = batch.rows.cells[batch.rows.weight > 0, :-4].view(np.uint8)
        each = np.stack([weight, weight * label, weight * label * label], 1)[batch.rows.weight > 0]
        kinds, of = np.unique(rows, axis=0, return_inverse=True)
        added = np.zeros((len(kinds), 3))
        np.add.at(added, of.reshape(-1), each)
        for kind, total in zip(kinds, added, strict=True):
            name = hashlib.blake2b(kind.tobytes(), digest_size=16).digest()
            sums[name] = sums[name] + total if name in sums else total
    groups = np.stack([total for total in sums.values() if total[0] > 0])
    return _best(groups, classifies=classifies), _best(groups.sum(0, keepdims=True), classifies=classifies)


def _best(groups: _Doubles, *, classifies: bool) -> float:
    """The mean loss where each group (weight, weighted sum of label and of its square) has one answer."""
    weight, first, second = groups.T
    mean = first / weight
    if classifies:
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = -np.where(mean > 0, mean * np.log(mean), 0) - np.where(mean < 1, (1 - mean) * np.log1p(-mean), 0)
        return float((lost * weight).sum() / weight.sum())
    return float(np.maximum(second - first * mean, 0).sum() / weight.sum())


def measure_memorized(training: "Training", data: "TrainingData", *, classifies: bool) -> MemorizedLoss:
    """How near a trained network came over all rows of the train fold."""
    some = streams.Reader(data.train, 0, 1).batches(0)
    return MemorizedLoss(training.over(data.train), *loss_floor(some, data.weights, classifies=classifies))


def memorize_section(found: MemorizedLoss) -> page.PageSection:
    """On the page: what was reached, and that nothing else was asked."""
    cells = [
        ("the network", found.loss),
        ("floor: as well as these features can tell", found.floor),
        ("the best constant", found.constant),
    ]
    said = (
        "<p>All rows were learnt by heart (useful overfitting): no row was held out, so these figures say nothing of other rows. "
        "Generalisation was not tested; it is not asked for where the rows are all that there is.</p>"
    )
    table = page.html_table(["mean loss on the rows themselves", "value"], [(name, f"{value:.6g}") for name, value in cells])
    return page.PageSection("Learnt by heart", said + table, "metrics")


def check_memorized(found: MemorizedLoss) -> None:
    """DataError where the floor was not reached."""
    if not found.near:
        raise DataError(
            f"train.overfit: the loss is {found.loss:.4g}, and {found.floor:.4g} can be reached ({found.constant:.4g} by a constant); "
            "more epochs, a larger network or another learning_rate may come nearer"
        )


def memorize_one_batch(run: "Run") -> None:
    """Says whether the model of a conf can learn one batch by heart (DataError where a network cannot); registers nothing."""
    from keyfold.dataset.fit_features import fit_features
    from keyfold.training import network as distributed
    from keyfold.training.arrays import network_inputs
    from keyfold.training.job import fit_one_batch, training_pins

    distributed.check_network(run)
    assert run.conf.train is not None
    spec, found = fit_features(run)
    with run.job("overfit") as job:
        job.run_id = run.identity("overfit", **training_pins(run, spec, found))
        if run.conf.train.model.torch is None:
            fit_one_batch(run, spec, found)
            return
        training, data = distributed.single_process_training(run, spec, found, *network_inputs(run, found))
        classifies = run.conf.train.model.torch.classifies
        batch = next(streams.Reader(data.train, 0, 1).batches(0))
        least, constant = loss_floor([batch], data.weights, classifies=classifies)
        with run.step("fit") as step:
            losses = training.by_heart(batch, STEPS, MemorizedLoss(0, least, constant).enough)
            step.rows = int((batch.rows.weight > 0).sum())
        found_ = MemorizedLoss(losses[-1], least, constant)
        run.say(
            f"one batch of {step.rows:,} rows: loss {losses[0]:.4g} after 1 step, {losses[-1]:.4g} after {len(losses):,}; "
            f"{least:.4g} can be reached, {constant:.4g} by a constant"
        )
        if not found_.near:
            raise DataError(
                "the network cannot learn one batch by heart: look at its features and the label, raise learning_rate, or make it larger"
            )
        run.say("the network can learn a batch by heart, so its parts work together")
