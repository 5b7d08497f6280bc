"""`train --overfit-one-batch`: whether the model of a conf can memorize a few rows. It registers nothing."""

from typing import TYPE_CHECKING

from keyfold.dataset.fit_features import fit_features
from keyfold.errors import ConfError, DataError
from keyfold.evaluation.intervals import format_number
from keyfold.features.certificate import Certificate
from keyfold.models.model import Model
from keyfold.training.arrays import collect_rows, measure_model
from keyfold.training.context import TrainingContext
from keyfold.training.example_files import training_data
from keyfold.training.fitting import fit_model, rows_to_fit
from keyfold.training.memorize import MemorizedLoss, loss_floor
from keyfold.training.network import check_network
from keyfold.training.streams import Reader

if TYPE_CHECKING:
    from keyfold.models.torch import Torch
    from keyfold.runtime.run import Run
    from keyfold.training.loop import Training

ROWS = 3_072  # rows for a scikit-learn model, at most
STEPS = 1_000  # steps of a network, at most


def memorize_one_batch(run: "Run") -> None:
    """Trains the model on one batch and reports its metrics on those rows (DataError if a network cannot memorize them)."""
    check_network(run.conf, run.engine)
    assert run.conf.train is not None
    if run.conf.train.models:
        raise ConfError(
            "--overfit-one-batch trains one model, and train.models has several; add --set train.models=null and --set train.model=… with "
            "one of them"
        )
    spec, rows = fit_features(run)
    with run.job("overfit") as job:
        context = TrainingContext.of(run, job, spec, rows)
        if conf := run.conf.train.model.torch:
            _memorize_network(context, conf)
        else:
            _memorize_estimator(context)


def _memorize_estimator(context: TrainingContext) -> None:
    run, train = context.run, context.train
    with run.step("fit") as step:
        rows, _ = collect_rows(run, context.spec, context.rows)
        batch = rows_to_fit(train.model, rows).first(ROWS)
        step.rows = batch.table.num_rows
        estimator = fit_model(train, context.spec, batch)
    model = Model(context.spec, estimator, context.rows.label, Certificate.issue(run.engine, context.spec))
    measured = measure_model(model, batch)
    values = ", ".join(f"{name} {format_number(metric.value, digits=4)}" for name, metric in measured.items())
    run.say(f"metrics on the {step.rows:,} rows that it was trained on: {values}")


def _memorize_network(context: TrainingContext, conf: "Torch") -> None:
    run, training = context.run, _unregularised_training(context, conf)
    batch = next(Reader(training.data.train, 0, 1).batches(0))
    floor, constant = loss_floor([batch], training.data.head, training.data.weights)
    with run.step("fit") as step:
        losses = training.memorize(batch, STEPS, MemorizedLoss(0, floor, constant).target)
        step.rows = int((batch.rows.weight > 0).sum())
    run.say(
        f"one batch of {step.rows:,} rows: loss {losses[0]:.4g} after 1 step, {losses[-1]:.4g} after {len(losses):,}; "
        f"the floor is {floor:.4g}, a constant reaches {constant:.4g}"
    )
    if not MemorizedLoss(losses[-1], floor, constant).is_near:
        raise DataError(
            "the network cannot memorize one batch: check its features and the label, raise learning_rate, or enlarge the network"
        )
    run.say("the network can memorize a batch, so its parts work together")


def _unregularised_training(context: TrainingContext, conf: "Torch") -> "Training":
    """A training by this process alone, without dropout, weight decay, learning-rate schedule, clipping and stages."""
    from keyfold.training.collectives import SingleProcess
    from keyfold.training.loop import Training

    with context.run.step("examples") as step:
        data = training_data(context, conf)
        step.rows = data.train.rows + data.validation.rows
    loop = conf.loop.model_copy(update={"weight_decay": 0.0, "decay": None, "warm_up": 0.0, "clip": None, "stages": []})
    network = conf.network.model_copy(update={conf.network.choice: conf.network.chosen.model_copy(update={"dropout": 0.0})})
    module = conf.model_copy(update={"network": network}).build(data.train.layout, context.train.seed, data.head.units)
    return Training(module, loop, data, SingleProcess())
