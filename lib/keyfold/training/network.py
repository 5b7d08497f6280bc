"""Training of a network: features are written once as files, ranks train on them, and the trained network is returned."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.core.machine import memory_limit
from keyfold.core.packages import require_package
from keyfold.engine.engine import Engine
from keyfold.engine.home import home
from keyfold.errors import ConfError
from keyfold.features.matrix import Layout
from keyfold.models.torch import STREAMS, Network, Torch, require_torch, rows_per_stream
from keyfold.training import horovod_launch, memorize, page_sections
from keyfold.training.checkpoints import Checkpoints, checkpoint_state
from keyfold.training.collectives import SingleProcess
from keyfold.training.context import TrainingContext
from keyfold.training.example_files import NETWORK_FOLDS, training_data
from keyfold.training.rank_task import RankTask
from keyfold.training.streams import AFTER, AHEAD, shuffle_rows, uneven_ranks
from keyfold.training.warm_start import find_start, start_tensors

if TYPE_CHECKING:
    from torch import nn

    from keyfold.conf.use_case import Conf
    from keyfold.runtime.run import Run
    from keyfold.training.loop import EpochMetrics

Report = Callable[["EpochMetrics"], None]


def check_network(conf: "Conf", engine: Engine) -> None:
    """Checks the options of networks, and the packages and the engine that they need (ConfError)."""
    memorize.check_overfit(conf)
    if conf.train is None:
        return
    if conf.train.model.torch is None:
        if conf.train.ranks > 1:
            raise ConfError(
                "train.ranks is for networks (train.model.torch); a scikit-learn model is trained by one process, so leave it out"
            )
        return
    for option, value in {
        "report.without": conf.report.without,
        "report.rebalance": conf.report.rebalance,
        "split.folds": conf.split.folds,
    }.items():
        if value:
            raise ConfError(f"{option} trains the model several times, which only scikit-learn models support; leave it out")
    _check_ranks(conf.train.ranks, conf.train.model.torch)
    if conf.train.tensorboard:
        require_package("train.tensorboard", "tensorboard", "torch installs it")
    if conf.train.ranks > 1 and engine.launcher.one_host:  # executors of a cluster may be starting
        engine.launcher.check(conf.train.ranks)


def _check_ranks(ranks: int, conf: Torch) -> None:
    rows_per_stream(conf.loop.batch_size)
    require_torch()
    if STREAMS % ranks:
        raise uneven_ranks(STREAMS, ranks)
    if STREAMS // ranks % conf.loop.accumulate:
        raise ConfError(
            f"train.model.torch.loop.accumulate must divide the {STREAMS // ranks} streams of a process (got {conf.loop.accumulate})"
        )
    if ranks > 1:
        require_package("train.ranks", "horovod", "horovod builds it, in some minutes")


def train_network(context: TrainingContext, conf: Torch) -> "tuple[Network, list[EpochMetrics]]":
    """A network trained on the train fold, and its metrics after each epoch.

    Resumes from the checkpoints of a killed run with the same id. Raises ConfError as `check_network` does, and if the network does not
    fit into memory; DataError if the loss is not finite, or if `train.overfit` misses its floor.
    """
    run = context.run
    with run.step("examples") as step:
        task = make_rank_task(context, conf, context.run_id)
        step.rows = task.data.train.rows + task.data.validation.rows
    with run.step("fit") as step:
        network, history = run_training(context, task)
        step.rows = history[-1].keys[0]
    Checkpoints(task.folder).clear()
    if context.train.overfit:
        _check_memorized(context, task, network)
    trained = Network(network, context.spec, conf)
    trained.prior = context.network_prior
    return trained, history


def make_rank_task(context: TrainingContext, conf: Torch, run_id: str) -> RankTask:
    """The input of the ranks that train a network (ConfError if it does not fit into memory); checkpoints are kept under the run id."""
    layout = Layout.of(context.spec.outs)
    _check_memory(context, conf, layout)
    start = _start_arrays(context, conf, layout) if conf.start else {}
    board = home() / "tensorboard" / context.run.conf.name / run_id if context.train.tensorboard else None
    return RankTask(conf, training_data(context, conf), checkpoint_folder(run_id), start, board)


def checkpoint_folder(run_id: str) -> Path:
    """The folder of the checkpoints of a run id."""
    return home() / "checkpoints" / run_id


def _check_memorized(context: TrainingContext, task: RankTask, network: "nn.Module") -> None:
    """Compares the loss over all rows with its floor, on the page too (DataError if it is too far from it)."""
    from keyfold.training.loop import Training

    with context.run.step("floor") as step:
        training = Training(network, task.conf.loop, task.data, SingleProcess())
        memorized = memorize.measure_memorized(training)
        step.rows = task.data.train.rows
    context.job.sections.append(page_sections.memorize_section(memorized))
    context.run.say(
        f"loss {memorized.loss:.4g} over all rows; the floor is {memorized.floor:.4g}, a constant reaches {memorized.constant:.4g}"
    )
    memorize.check_memorized(memorized)


def _start_arrays(context: TrainingContext, conf: Torch, layout: Layout) -> dict[str, Any]:
    """Arrays by name that replace initial parameters."""
    assert conf.start is not None
    parameters = context.warm_start or find_start(conf.start)
    tensors, fresh = start_tensors(conf.start, parameters, conf.build(layout, 0, context.head.units), context.spec)
    context.run.say(f"starts from {len(tensors)} tensors of {parameters.name}; newly initialised: {', '.join(fresh) or 'none'}")
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _check_memory(context: TrainingContext, conf: Torch, layout: Layout) -> None:
    """Raises ConfError if the processes of a host would take more memory than it has."""
    import torch

    ranks = context.train.ranks
    with torch.device("meta"):
        parameters = sum(p.numel() for p in conf.build(layout, 0, context.head.units).parameters())
    label_cells, columns = context.head.label_cells, sum(layout.columns)
    # Parameters, gradients, two moments of the optimizer and a copy for checkpoints; batches; a block of each stream of both folds, and one
    # that is being read.
    blocks = len(NETWORK_FOLDS) * STREAMS // ranks + 1
    rows = (2 * AHEAD + 2) * (conf.loop.batch_size // ranks) + blocks * shuffle_rows(layout, label_cells)
    needed = (5 * 4 * parameters + 4 * (columns + label_cells + AFTER) * rows) * (
        ranks if context.run.engine.launcher.one_host else 1
    )
    available = memory_limit()
    if needed > available:
        raise ConfError(
            f"train: {parameters:,} parameters and batches of {conf.loop.batch_size:,} rows of {columns:,} columns would take "
            f"{needed / 2**30:.0f} GiB, and this machine has {available / 2**30:.0f}; lower batch_size, num_buckets, embedding or ranks"
        )


def run_training(
    context: TrainingContext, task: RankTask, observe: Report | None = None
) -> "tuple[nn.Module, list[EpochMetrics]]":
    """The trained module, and its metrics after each epoch.

    With one rank, `observe` gets the metrics of each epoch, those before a checkpoint too; an error that it raises ends the training.
    """
    import torch

    from keyfold.training.loop import EpochMetrics

    train = context.train
    report = _reporter(context.run, task, Checkpoints(task.folder), observe if train.ranks == 1 else None)
    if train.ranks == 1:
        trained = task.run(SingleProcess(), report)
    else:
        trained = horovod_launch.run_ranks(
            context.run, train.ranks, train.interface, task.folder, task.run_as_rank, lambda values: report(EpochMetrics(*values))
        )
    context.job.facts["trained on"] = trained.device
    network = task.conf.build(task.data.train.layout, task.data.train.seed, task.data.head.units)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in trained.tensors.items()})
    return network, trained.history


def _reporter(run: "Run", task: RankTask, checkpoints: "Checkpoints", observe: Report | None) -> Report:
    """Logs loss, speed and remaining time of each epoch, and passes its metrics to `observe`."""
    from keyfold.training.loop import EpochMetrics

    last, epochs = checkpoints.last, task.conf.loop.all_epochs
    state: dict[str, Any] = checkpoint_state(last) if last else {"course": [], "keys": [0]}
    if last:
        run.say(f"resumes from {last}")
    if observe:
        for values in state["course"]:
            observe(EpochMetrics(*values))
    time_before, rows_before = time.monotonic(), state["keys"][0]

    def report(epoch: EpochMetrics) -> None:
        nonlocal time_before, rows_before
        now, message = time.monotonic(), f"epoch {epoch.epoch + 1} of {epochs}: loss {epoch.loss:.4f}"
        if task.data.validation.rows:
            message += f", validation {epoch.validation:.4f}"
        if (rows := epoch.keys[0] - rows_before) > 0:  # an epoch is repeated if a rank was lost before its checkpoint
            rate = rows / max(1e-9, now - time_before)
            seconds = (epochs - epoch.epoch - 1) * task.data.train.rows / rate
            message += f"; {rate:,.0f} rows/s, at most {math.ceil(seconds):,} s left"
        time_before, rows_before = now, epoch.keys[0]
        run.say(message)
        if observe:
            observe(epoch)

    return report
