"""The stages of a cascade on the test fold: what leaves where, how much CPU time it takes, and the last stage alone on all rows."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keyfold.conf.train import Train
from keyfold.core import hashing
from keyfold.core.arrays import Doubles, Int64s
from keyfold.engine.columns import col, lit
from keyfold.engine.hashes import sample_place
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import FOR_DECISIONS, METRICS, names_of
from keyfold.evaluation.paired import Measures, PairedMetrics, Predicted, compare_predictions
from keyfold.labels import Label
from keyfold.models.cascade import Cascade, Exit, Stage, decisions, stage_spec
from keyfold.models.cascade_fit import class_names
from keyfold.models.lazy_features import LazyFeatures
from keyfold.models.member_fits import RunTasks
from keyfold.models.model import Model
from keyfold.models.section import CascadeConf
from keyfold.training.arrays import ArrayRows, identifying_columns
from keyfold.training.context import TrainingContext
from keyfold.training.fitting import fit_model

TIMED, REPEATS = 10_000, 3  # rows that are timed at most, and how often
_PLACE = "keyfold_place"


class MeasuredExit(NamedTuple):
    """Rows that left a stage for a class: how many, how many of them are right, and the exit (None: the last stage)."""

    name: str
    rows: int
    right: int
    exit: Exit | None

    @property
    def precision(self) -> float:
        """The share of the rows that are right; NaN if there are none."""
        return self.right / self.rows if self.rows else np.nan


class MeasuredStage(NamedTuple):
    """A stage on the test fold: rows that reach it and that leave it by class, and CPU seconds per million rows that reach it."""

    name: str
    reached: int
    exits: list[MeasuredExit]
    seconds: float

    @property
    def left(self) -> int:
        """The number of rows that leave."""
        return sum(one.rows for one in self.exits)


class MeasuredCascade(NamedTuple):
    """The stages, and the cascade beside its last stage alone on all rows: metrics with differences, CPU seconds per million rows.

    features: those that the last stage has alone: its own, and those of the stages that feed it. timed: number of labelled rows that
    were timed; seconds are weighed by the rows of the test fold that reach each stage.
    """

    stages: list[MeasuredStage]
    rows: int
    metrics: PairedMetrics
    alone: dict[str, Metric]
    seconds: float
    seconds_alone: float
    features: list[str]
    timed: int

    @property
    def measured(self) -> dict[str, Metric]:
        """Metrics of the last stage alone, differences (`<name>_difference`) from them, and the share of its CPU seconds (`cpu_share`)."""
        differences = {f"{name}_difference": metric for name, metric in self.metrics.difference.items()}
        return self.alone | differences | {"cpu_share": Metric(self.seconds / self.seconds_alone, np.nan, np.nan)}


def measure_stages(
    context: TrainingContext, train: Train, conf: CascadeConf, model: Model, rows: ArrayRows, run: RunTasks
) -> MeasuredCascade:
    """Measures a cascade, and its last stage, which is trained once more on all rows of the train fold."""
    cascade, test, label, features = model.estimator, rows.fold("test"), model.label, _features_alone(conf)
    assert isinstance(cascade, Cascade)
    own = stage_spec(cascade.spec, features, {})
    model_of_last = [*conf.stages.values()][-1].model
    assert model_of_last
    last = fit_model(train.with_model(model_of_last), own, rows.fold("train"), run)
    alone = Cascade(cascade.spec, [Stage(cascade.stages[-1].name, features, [], {}, last, [])])
    whole, other = (Predicted(label, one.numbers(test.arrays, label)) for one in (cascade, alone))
    metrics = compare_predictions(test.truth, whole, other, _measures, order=test.order)
    of_alone = compare_predictions(test.truth, other, other, _measures, order=test.order).first
    raw, n = _raw_rows(context), test.table.num_rows
    stages, stages_alone = (
        _measured_stages(one, test, label, _cpu_seconds(one, raw, label, model.rows_at_once)) for one in (cascade, alone)
    )
    seconds, seconds_alone = (sum(one.seconds * one.reached for one in of if one.reached) / n for of in (stages, stages_alone))
    return MeasuredCascade(stages, n, metrics, of_alone, seconds, seconds_alone, features, raw.num_rows)  # fmt: skip


def _measures(predicted: Predicted) -> Measures:
    return {name: METRICS[name].measure for name in FOR_DECISIONS if name in names_of(predicted.label)}


def _features_alone(conf: CascadeConf) -> list[str]:
    """The features of the last stage, and of those that feed it."""
    names, pending = dict[str, None](), [[*conf.stages][-1]]
    while pending:
        stage = conf.stages[pending.pop()]
        names |= dict.fromkeys(stage.names)
        pending += stage.feeds
    return list(names)


def _raw_rows(context: TrainingContext) -> pa.Table:
    """The columns that features take of labelled rows, of a sample by the hash of the key if there are many."""
    frame, count = context.rows.rows, sum(context.rows.counts.values())
    if count > TIMED:
        parts = round(TIMED / count * hashing.PARTS)
        key = identifying_columns(context.run.conf.data)
        frame = frame.compute(sample_place(_PLACE, frame.types, key, "timed")).where(col(_PLACE) < lit(parts))
    return frame.select([*context.spec.inputs]).to_arrow()


def _cpu_seconds(cascade: Cascade, rows: pa.Table, label: Label, at_once: int) -> Doubles:
    """CPU seconds of each stage per row that reaches it, features included (stages): of the fastest of a few times; NaN for no row."""
    seconds, reached = min((_timed(cascade, rows, label, at_once) for _ in range(REPEATS)), key=lambda timed: timed[0].sum())
    return np.divide(seconds, reached, out=np.full(len(seconds), np.nan), where=reached > 0)


def _timed(cascade: Cascade, rows: pa.Table, label: Label, at_once: int) -> tuple[Doubles, Doubles]:
    """The CPU seconds of each stage, and the rows that reach it."""
    seconds, reached = np.zeros(len(cascade.stages)), np.zeros(len(cascade.stages))
    for start in range(0, rows.num_rows, at_once):
        last = time.process_time()
        for step in cascade.steps(LazyFeatures.of_rows(cascade.spec, rows.slice(start, at_once)), label):
            now = time.process_time()
            seconds[step.stage] += now - last
            reached[step.stage] += len(step.places)
            last = now
    return seconds, reached


def _measured_stages(cascade: Cascade, test: ArrayRows, label: Label, seconds: Doubles) -> list[MeasuredStage]:
    truth, names = test.y.astype(np.int64), class_names(label)
    steps = {step.stage: step for step in cascade.steps(LazyFeatures(test.arrays), label)}
    measured = []
    for place, stage in enumerate(cascade.stages):
        step = steps.get(place)
        left, codes, reached = truth[:0], truth[:0], 0
        if step:
            left, codes, reached = (
                truth[step.places[step.leaves]], decisions(step.numbers[step.leaves], label)[0], len(step.places)
            )  # fmt: skip
        measured.append(MeasuredStage(stage.name, reached, _exits(stage, names, left, codes), float(seconds[place] * 1e6)))
    return measured


def _exits(stage: Stage, names: Sequence[str], truth: Int64s, codes: Int64s) -> list[MeasuredExit]:
    """What leaves a stage, by class; truth, codes: the classes and the predicted ones of the rows that leave."""
    return [
        MeasuredExit(
            name, int((codes == code).sum()), int(((codes == code) & (truth == code)).sum()),
            stage.exits[code] if stage.exits else None,
        )
        for code, name in enumerate(names)
    ]  # fmt: skip
