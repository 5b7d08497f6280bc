"""The job `train`: collects the rows, fits the model, measures it and registers it."""

from typing import TYPE_CHECKING

from keyfold.conf.train import Train
from keyfold.dataset.fit_features import fit_features
from keyfold.dataset.leakage_gates import Gate, check_gates
from keyfold.dataset.page_sections import gates_section
from keyfold.errors import ConfError
from keyfold.features.certificate import Certificate
from keyfold.models.member_fits import Fitted
from keyfold.models.model import Model
from keyfold.models.parity import INEXACT
from keyfold.models.reasons import check_label
from keyfold.tracking import registry
from keyfold.tracking.registry import Registered
from keyfold.training.answers import complete_model, explain_model
from keyfold.training.arrays import ArrayRows, collect_rows
from keyfold.training.candidates import choose_candidate, report_candidates
from keyfold.training.context import TrainingContext
from keyfold.training.evaluation import evaluate_model
from keyfold.training.fitting import fit_model, rows_to_fit, tasks_of
from keyfold.training.network import check_network, train_network
from keyfold.training.page_sections import tuning_section
from keyfold.training.registration import TrainingResult, register_result
from keyfold.training.search import search_parameters
from keyfold.training.study import require_optuna
from keyfold.training.trial_scores import EstimatorTrials, network_score
from keyfold.training.trials import TuningResult

if TYPE_CHECKING:
    from keyfold.runtime.run import Run
    from keyfold.training.loop import EpochMetrics


def train(run: "Run") -> Registered:
    """Trains and registers a model, or finds the version that was trained from the same conf and rows."""
    conf = run.conf
    if conf.train is None:
        raise ConfError("train: the conf has no such section, so there is nothing to train")
    check_network(conf, run.engine)
    if conf.train.tune:
        require_optuna()
    spec, rows = fit_features(run)
    if conf.score.reasons:
        check_label(rows.label)
    name = conf.train.register_as or conf.name
    with run.job("train") as job:
        context = TrainingContext.of(run, job, spec, rows)
        job.inputs = {run.featured.name: rows.version, "spec": spec.digest}
        version = run.once(
            job,
            lambda: registry.registered_by(name, job.run_id),
            lambda: register_result(context, name, _train(context)),
            lambda version: f"{version} was trained before from the same conf and rows",
            lambda _: {"read": sum(rows.counts.values())},
        )
        job.model, job.mlflow_run = version, version.mlflow_run_id
    return version


def _train(context: TrainingContext) -> TrainingResult:
    gates = _check_gates(context)
    with context.run.step("collect") as step:
        rows, share = collect_rows(context.run, context.spec, context.rows)
        step.rows = rows.table.num_rows
    tuned = _tune(context, rows) if context.train.tune else None
    choice = choose_candidate(context, rows) if context.train.models else None
    train = context.train.with_model(tuned.model if tuned else choice.best.model if choice else context.train.model)
    estimator, history = (choice.best.estimator, []) if choice and choice.best.estimator else _fit(context, train, rows)
    model = Model(context.spec, estimator, context.rows.label, Certificate.issue(context.run.engine, context.spec))
    model = complete_model(context.label, model, rows.fold("validation"))
    model = explain_model(model, rows.fold("train")) if context.run.conf.score.reasons else model
    if (parity := model.parity).differ:
        context.run.say(f"{INEXACT} ({parity})")
    measured = evaluate_model(context, train, model, rows)
    if choice:
        measured |= report_candidates(context, model, choice, rows)
    return TrainingResult(model, train, rows, share, gates, tuned, measured, history, choice)


def _check_gates(context: TrainingContext) -> list[Gate]:
    with context.run.step("gates") as step:
        gates = check_gates(context.run, context.rows)
        context.job.sections.append(gates_section(gates))
        step.rows = sum(context.rows.counts.values())
    return gates


def _tune(context: TrainingContext, rows: ArrayRows) -> TuningResult:
    """The model with the best parameters, and its trials, which are shown on the page too."""
    run, train = context.run, context.train
    assert train.tune is not None
    metric = train.tune.metric_for(train.model)
    with run.step("tune") as step:
        step.rows = rows.table.num_rows
        if train.model.torch:
            score = network_score(context, rows.fold("validation"), metric)
            tuned = search_parameters(train, context.run_id, score, run.say)
        else:
            with EstimatorTrials.of(context, rows, metric).over(run.engine, train.tune.parallel) as score:
                tuned = search_parameters(train, context.run_id, score, run.say)
    context.job.sections.append(tuning_section(train.tune, tuned))
    return tuned


def _fit(context: TrainingContext, train: Train, rows: ArrayRows) -> "tuple[Fitted, list[EpochMetrics]]":
    """The fitted model, and a network's metrics after each epoch."""
    if train.model.torch is not None:
        return train_network(context, train.model.torch)
    with context.run.step("fit") as step:
        learn = rows_to_fit(train.model, rows)
        step.rows = learn.table.num_rows
        return fit_model(train, context.spec, learn, tasks_of(context.run.engine, learn)), []
