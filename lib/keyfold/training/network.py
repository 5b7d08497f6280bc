"""A network's training from the conf: features kept once as a Delta table, cut into streams, and the loop over them."""

import importlib.util
import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from keyfold.core import hashing, sql
from keyfold.core.names import FOLD, LABEL, ORDER, PART, STREAM, WEIGHT
from keyfold.core.row_hash import key_hash, sql_key_hash
from keyfold.core.sql import col
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.engine import functions as F
from keyfold.engine.home import home
from keyfold.engine.session import temporary_settings
from keyfold.engine.tables import Table
from keyfold.errors import ConfError, DataError
from keyfold.features.matrix import Layout
from keyfold.features.spec import Spec
from keyfold.models.torch import STREAMS, Network, Torch, require_torch, rows_per_stream
from keyfold.training import horovod_launch, memorize, streams, tensorboard, warm_start
from keyfold.training.rank_task import RankTask
from keyfold.training.streams import AHEAD, SHUFFLE_ROWS, StreamPlan

if TYPE_CHECKING:
    from torch import nn

    from keyfold.runtime.run import Run
    from keyfold.training.loop import EpochMetrics, Training, TrainingData

LEARNT_FOLDS = ("train", "validation")


def check_network(run: "Run") -> None:
    """What cannot be said with a network, and whether it can be trained here (ConfError)."""
    conf = run.conf
    memorize.check_overfit(conf)
    if conf.train is None:
        return
    if conf.train.model.torch is None:
        if conf.train.ranks > 1:
            raise ConfError(
                "train.ranks is for networks (train.model.torch); a scikit-learn model is trained by one process, so leave it out"
            )
        return
    for option, given in {"report.without": conf.report.without, "split.folds": conf.split.folds}.items():
        if given:
            raise ConfError(
                f"{option} trains the model once more each time, which is offered for scikit-learn models only; leave it out"
            )
    loop = conf.train.model.torch.loop
    rows_per_stream(loop.batch_size)
    require_torch()
    if STREAMS % conf.train.ranks:
        raise streams.uneven_ranks(STREAMS, conf.train.ranks)
    if STREAMS // conf.train.ranks % loop.accumulate:
        raise ConfError(
            f"train.model.torch.loop.accumulate must divide the {STREAMS // conf.train.ranks} streams of a process (got {loop.accumulate})"
        )
    if conf.train.tensorboard:
        tensorboard.check_tensorboard()
    if conf.train.ranks > 1 and not importlib.util.find_spec("horovod"):
        raise ConfError("train.ranks needs the package horovod: ./spark-submit.sh setup horovod builds it, in some minutes")


def train_network(
    run: "Run",
    run_id: str,
    spec: Spec,
    found: LabelledRows,
    key: list[str],
    weights: tuple[float, float],
    conf: Torch | None = None,
) -> "tuple[Network, list[EpochMetrics]]":
    """The network of the conf, or another one, trained on the train fold, and how it stood after each epoch; `weights` of the negative and the positive class.

    What a killed run with this id had come to is gone on from (DataError: see `check` for the rest).
    """
    assert run.conf.train is not None
    conf = conf or run.conf.train.model.torch
    assert conf is not None
    from keyfold.training.checkpoints import Checkpoints

    with run.step("examples") as step:
        work = make_rank_task(run, run_id, conf, spec, found, key, weights)
        step.rows = work.data.train.rows + work.data.validation.rows
    with run.step("fit") as step:
        network, course = run_training(run, work)
        step.rows = course[-1].keys[0]
    Checkpoints(work.folder).clear()
    if run.conf.train.overfit:
        _proven(run, work, network)
    return Network(network, spec, conf), course


def make_rank_task(
    run: "Run", run_id: str, conf: Torch, spec: Spec, found: LabelledRows, key: list[str], weights: tuple[float, float]
) -> RankTask:
    """What ranks are given to train a network (DataError: see `check`)."""
    assert run.conf.train is not None
    layout = Layout.of(spec.outs)
    _fits(run, conf, layout)
    first = _first(run, conf, spec, layout) if conf.start else {}
    shown = home() / "tensorboard" / run.conf.name / run_id if run.conf.train.tensorboard else None
    return RankTask(conf, _data(run, conf, spec, found, key, weights), checkpoint_folder(run_id), first, shown)


def checkpoint_folder(run_id: str) -> Path:
    """Where the checkpoints of a training are."""
    return home() / "checkpoints" / run_id


def _data(
    run: "Run", conf: Torch, spec: Spec, found: LabelledRows, key: list[str], weights: tuple[float, float]
) -> "TrainingData":
    from keyfold.training.loop import TrainingData

    assert run.conf.train is not None
    layout, each = Layout.of(spec.outs), rows_per_stream(conf.loop.batch_size)
    groups = _kept(run, spec, found, key)
    plans = {
        fold: StreamPlan(groups[fold], layout, run.conf.train.seed, each, streams.shuffle_rows(layout)) for fold in LEARNT_FOLDS
    }
    return TrainingData(plans["train"], plans["validation"], weights)


def _proven(run: "Run", work: RankTask, network: "nn.Module") -> None:
    """That all rows are known by heart (DataError), on the page."""
    from keyfold.training.collectives import SingleProcess
    from keyfold.training.loop import Training

    with run.step("floor") as step:
        training = Training(network, work.conf.loss, work.conf.loop, work.data, SingleProcess())
        reached = memorize.measure_memorized(training, work.data, classifies=work.conf.classifies)
        step.rows = work.data.train.rows
    run.sections.append(memorize.memorize_section(reached))
    run.say(f"loss {reached.loss:.4g} over all rows; {reached.floor:.4g} can be reached, {reached.constant:.4g} by a constant")
    memorize.check_memorized(reached)


def single_process_training(
    run: "Run", spec: Spec, found: LabelledRows, key: list[str], weights: tuple[float, float]
) -> "tuple[Training, TrainingData]":
    """A training by this process without what holds it back (dropout, decays, a warm-up, clipping), and its data."""
    from keyfold.training.collectives import SingleProcess
    from keyfold.training.loop import Training

    assert run.conf.train is not None
    assert run.conf.train.model.torch is not None
    conf = run.conf.train.model.torch
    with run.step("examples") as step:
        data = _data(run, conf, spec, found, key, weights)
        step.rows = data.train.rows + data.validation.rows
    plain = conf.loop.model_copy(update={"weight_decay": 0.0, "decay": None, "warm_up": 0.0, "clip": None, "stages": []})
    network = conf.network.model_copy(update={conf.network.choice: conf.network.chosen.model_copy(update={"dropout": 0.0})})
    module = conf.model_copy(update={"network": network}).build(data.train.layout, run.conf.train.seed)
    return Training(module, conf.loss, plain, data, SingleProcess()), data


def _first(run: "Run", conf: Torch, spec: Spec, layout: Layout) -> dict[str, Any]:
    """What the parameters begin with, by name."""
    assert conf.start is not None
    at = run.begins or warm_start.find_start(conf.start)
    taken, fresh = warm_start.start_tensors(conf.start, at, conf.build(layout, 0), spec)
    run.say(f"begins with {len(taken)} tensors of {at.name}; fresh are {', '.join(fresh) or 'none'}")
    return {name: tensor.numpy() for name, tensor in taken.items()}


def _fits(run: "Run", conf: Torch, layout: Layout) -> None:
    """ConfError where the processes of a host would take more memory than it has."""
    import torch

    assert run.conf.train is not None
    with torch.device("meta"):
        parameters = sum(p.numel() for p in conf.build(layout, 0).parameters())
    columns = sum(layout.columns)
    rows = conf.loop.batch_size // run.conf.train.ranks
    # Parameters, gradients, an optimizer's two moments and a checkpoint's copy; batches; a block of each stream of both folds, and one as it is read.
    blocks = len(LEARNT_FOLDS) * STREAMS // run.conf.train.ranks + 1
    needed = 5 * 4 * parameters + 4 * (columns + 4) * ((2 * AHEAD + 2) * rows + blocks * streams.shuffle_rows(layout))
    local = (run.spark.conf.get("spark.master", "") or "").startswith("local")
    together = needed * (run.conf.train.ranks if local else 1)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if together > there:
        raise ConfError(
            f"train: {parameters:,} parameters and batches of {conf.loop.batch_size:,} rows of {columns:,} columns would take "
            f"{together / 2**30:.0f} GiB, and this machine has {there / 2**30:.0f}; lower batch_size, num_buckets, embedding or ranks"
        )


def run_training(
    run: "Run", work: RankTask, heard: "Callable[[EpochMetrics], None] | None" = None
) -> "tuple[nn.Module, list[EpochMetrics]]":
    """The network, and how it stood after each epoch; of each `heard` hears, and may raise (of one rank only)."""
    import torch

    from keyfold.training.checkpoints import Checkpoints, checkpoint_state
    from keyfold.training.collectives import SingleProcess
    from keyfold.training.loop import EpochMetrics

    assert run.conf.train is not None
    train, epochs = run.conf.train, work.conf.loop.all_epochs
    last = Checkpoints(work.folder).last
    if last:
        run.say(f"goes on from {last}")
    if train.ranks > 1 or heard is None:
        heard = _deaf
    for before_last in checkpoint_state(last)["course"] if last else []:
        heard(EpochMetrics(*before_last))
    before = [time.monotonic(), checkpoint_state(last)["keys"][0] if last else 0]

    def told(at: EpochMetrics) -> None:
        now, sentence = time.monotonic(), f"epoch {at.epoch + 1} of {epochs}: loss {at.loss:.4f}"
        if work.data.validation.rows:
            sentence += f", validation {at.validation:.4f}"
        if (rows := at.keys[0] - before[1]) > 0:  # an epoch is told again where a rank was lost before its checkpoint
            rate = rows / max(1e-9, now - before[0])
            left = (epochs - at.epoch - 1) * work.data.train.rows / rate
            sentence += f"; {rate:,.0f} rows/s, at most {math.ceil(left):,} s left"
        before[:] = [now, at.keys[0]]
        run.say(sentence)
        heard(at)

    if train.ranks == 1:
        made = work.run(SingleProcess(), told)
    else:
        made = horovod_launch.run_ranks(
            run, train.ranks, train.interface, work.folder, work.as_rank, lambda said: told(EpochMetrics(*said))
        )
    run.facts["trained on"] = made.device
    network = work.conf.build(work.data.train.layout, work.data.train.seed)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in made.tensors.items()})
    return network, made.course


def _deaf(_: "EpochMetrics") -> None:
    """Hears nothing."""


def _kept(run: "Run", spec: Spec, found: LabelledRows, key: list[str]) -> dict[str, list[list[streams.RowGroup]]]:
    """By fold the row groups of each stream, of a table of features that is made unless it is there."""
    table = run.used("examples")
    name = run.identity("examples", **found.pins(run), spec=spec.digest, streams=STREAMS)
    last = next(table.commits(), None) if table.exists() else None
    if last is None or last.metadata.get("run_id") != name or table.version().version != last.version:
        _make(run, table, spec, found, key, name)
        last = next(table.commits())
    counts: dict[str, int] = last.metadata[STREAM]
    files: dict[str, list[str]] = {stream: [] for stream in counts}
    for file in table.read(last.version).inputFiles():
        match = re.search(rf"/{STREAM}=([^/]+)/", unquote(file))
        if match and match[1] in files:
            files[match[1]].append(file)
    groups = {stream: streams.row_groups(some) for stream, some in files.items()}
    for stream, rows in counts.items():
        if (there := sum(group.rows for group in groups[stream])) != rows:
            raise DataError(
                f"table `{table.name}`: the files of {stream} have {there:,} rows, and {rows:,} were written; rows were deleted "
                "or added since. Drop the table, and run `train` again"
            )
    return {fold: [groups[_named(fold, stream)] for stream in range(STREAMS)] for fold in LEARNT_FOLDS}


def _make(run: "Run", table: Table, spec: Spec, found: LabelledRows, key: list[str], name: str) -> None:
    rows = found.rows.where(col(FOLD).isin(*LEARNT_FOLDS))
    number = F.lpad(sql.column(hashing.sql_reduce(sql_key_hash(rows, key, "stream"), STREAMS)).cast("string"), 2, "0")
    columns: dict[str, Any] = {
        STREAM: F.concat(col(FOLD), F.lit("-"), number),
        ORDER: key_hash(rows, key, "order"),
        LABEL: col(LABEL),
    }
    columns |= {WEIGHT: col(WEIGHT)} if found.imputations else {}
    made = spec.out_of_fold(PART).transform(rows, [column.alias(n) for n, column in columns.items()])
    there: dict[str, int] = dict(rows.select(columns[STREAM].alias(STREAM)).groupBy(STREAM).count().collect())  # type: ignore[arg-type]
    counts = {_named(fold, stream): there.get(_named(fold, stream), 0) for fold in LEARNT_FOLDS for stream in range(STREAMS)}
    ordered = made.repartition(STREAMS, STREAM).sortWithinPartitions(STREAM, ORDER)
    with temporary_settings(run.spark, {"spark.sql.files.maxRecordsPerFile": str(4 * SHUFFLE_ROWS)}):
        table.replace(ordered, STREAM, counts, retention=run.conf.data.retention, schema=True, job="train", run_id=name)


def _named(fold: str, stream: int) -> str:
    return f"{fold}-{stream:02d}"
