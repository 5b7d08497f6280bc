"""Fits estimators and ensembles on collected rows; members of an ensemble are tasks of the engine."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from keyfold.conf.train import Train
from keyfold.core.machine import memory_limit
from keyfold.engine.engine import Engine
from keyfold.features.spec import Spec
from keyfold.models.member_fits import Fitted, RunTasks, run_in_turn
from keyfold.models.prior import PriorCorrection
from keyfold.models.section import ModelConf
from keyfold.training.arrays import ArrayRows, needed_memory
from keyfold.training.rebalancing import balance_rows, class_names

FEW = 200_000  # rows of all tasks together, below which processes would take longer to start than to fit


def rows_to_fit(model: ModelConf, rows: ArrayRows) -> ArrayRows:
    """The rows that a model is fitted on: the train fold, and the validation fold if it decides about parts of the model."""
    return rows.outside_test if model.uses_validation else rows.fold("train")


def fit_model(train: Train, spec: Spec, rows: ArrayRows, run: RunTasks = run_in_turn) -> Fitted:
    """The model of the conf, fitted on rows whose classes `train.rebalance` balances; `spec` may have fewer features than the rows.

    Its probabilities are corrected so that their means over the rows are the shares of the classes, unless the conf says otherwise.
    `run` runs the fits of an ensemble's members. Raises ConfError for weights of other classes, DataError if the rows cannot be
    balanced, or a member cannot be fitted.
    """
    learn, validation = (rows.fold(fold) for fold in ("train", "validation")) if train.model.uses_validation else (rows, None)
    rebalance, plain = train.rebalance, learn.examples
    fitted = balance_rows(rebalance, spec, learn, train.seed) if rebalance else plain
    if validation:
        fitted = fitted._replace(validation=validation.examples)
    model = train.model.fit(spec, fitted, train.seed, run)
    if rebalance and rebalance.correct:
        totals = plain.totals(len(class_names(rows.label)))
        numbers = model.uncorrected_numbers(plain.arrays, rows.label)
        model.prior = PriorCorrection.matching(numbers, totals / totals.sum(), plain.weight)
    return model


def tasks_of(engine: Engine, rows: ArrayRows) -> RunTasks:
    """Runs fits of members as tasks of the engine, as many at once as cores and memory allow; few rows in this process."""
    return partial(_run_tasks, engine, rows)


def _run_tasks(
    engine: Engine, rows: ArrayRows, function: Callable[[Any, Any], Any], shared: Any, tasks: Sequence[Any]
) -> list[Any]:
    most = min(len(tasks), engine.tasks, int(memory_limit() / 2 / max(1, needed_memory(rows.spec, rows.table.num_rows))))
    if most < 2 or rows.table.num_rows * len(tasks) < FEW:
        return run_in_turn(function, shared, tasks)
    with engine.map_shared(function, shared, most) as run:
        return run(tasks)
