"""Metrics of a trained model on the rows that were held out, and their sections of the page."""

import numpy as np

from keyfold.conf.importance import Importance
from keyfold.conf.train import Train
from keyfold.core.names import NUMBER
from keyfold.evaluation import metrics, slices
from keyfold.evaluation.intervals import Metric
from keyfold.labels import Neutral
from keyfold.models.ensemble import Ensemble
from keyfold.models.model import Model
from keyfold.reporting.page import PageSection
from keyfold.reporting.sections import metrics_section, slices_section
from keyfold.training.ablation import measure_ablation
from keyfold.training.answer_sections import answer_sections
from keyfold.training.arrays import EXTRA, ArrayRows, measure_model
from keyfold.training.cascade_sections import report_stages
from keyfold.training.comparisons import compare_rebalancing, compare_with_model
from keyfold.training.context import TrainingContext
from keyfold.training.coverage import measure_coverage
from keyfold.training.fitting import fit_model, rows_to_fit, tasks_of
from keyfold.training.importance import measure_importance
from keyfold.training.importance_sections import importance_section
from keyfold.training.members import measure_members
from keyfold.training.naive import NAIVE, measure_naive
from keyfold.training.page_sections import ablations_section, ensemble_section
from keyfold.training.variants import FoldMetrics

_HEADINGS = {NAIVE: "test, of a constant"}


def evaluate_model(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> FoldMetrics:
    """The metrics of validation and test, cross-validated if the conf says so, and without the features of `report.without`."""
    conf = context.run.conf
    with context.run.step("evaluate") as step:
        measured = {
            fold: measure_model(model, part) for fold in ("validation", "test") if (part := rows.fold(fold)).table.num_rows
        }
        if "test" in measured and (naive := measure_naive(model.label, rows)):
            measured[NAIVE] = naive
        if conf.split.folds:
            measured["cross_validated"] = _cross_validate(context, train, model, rows.outside_test)
        step.rows = sum(rows.fold(fold).table.num_rows for fold in measured)
        context.job.sections += _sections(context, model, rows, measured)
    if isinstance(model.label, Neutral) and "test" in measured:
        measured |= measure_coverage(context, train, model, rows)
    if isinstance(model.estimator, Ensemble) and "test" in measured:
        measured |= _measure_members(context, model, model.estimator, rows)
    if conf.report.importance and "test" in measured:
        measured |= _measure_importance(context, conf.report.importance, model, rows.fold("test"))
    if train.model.cascade and "test" in measured:
        measured |= report_stages(context, train, model, rows)
    if conf.report.without and "test" in measured:
        measured |= _measure_ablations(context, train, model, rows, measured["test"])
    if conf.report.rebalance and "test" in measured:
        measured |= compare_rebalancing(context, train, rows)
    if conf.report.compare and "test" in measured:
        measured |= compare_with_model(context, train, model, rows)
    return measured


def _sections(context: TrainingContext, model: Model, rows: ArrayRows, measured: FoldMetrics) -> list[PageSection]:
    shown = {_HEADINGS.get(fold, fold): named for fold, named in measured.items()}
    sections, test, report = [metrics_section(shown)] if measured else [], rows.fold("test"), context.run.conf.report
    if not test.table.num_rows:
        return sections
    predicted = model.numbers(test.arrays)
    truth = test.table[EXTRA + report.truth].to_numpy() if report.truth else None
    sections += answer_sections(context.label, model, rows, predicted, truth)
    for name in report.slices:
        groups = np.array(test.table[EXTRA + name].to_pylist(), dtype=object)
        by_value = slices.slice_metrics(model.label, test.truth, predicted, groups, order=test.order, replicates=100)
        sections.append(slices_section(name, by_value))
    return sections


def _cross_validate(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> dict[str, Metric]:
    """The metrics of rows outside test, each predicted by an estimator that was trained on the other parts; the rest is the model's."""
    label = model.label
    number = rows.table[EXTRA + NUMBER].to_numpy()
    predicted = np.full((len(number), label.width) if label.width > 1 else len(number), np.nan)
    for k in range(context.run.conf.split.folds or 0):
        learn, held_out = (rows.filter(mask) for mask in (number != k, number == k))
        if held_out.table.num_rows:
            estimator = fit_model(train, rows.spec, learn, tasks_of(context.run.engine, learn))
            predicted[number == k] = model._replace(estimator=estimator).numbers(held_out.arrays)
    return metrics.measure_predictions(label, rows.truth, predicted, order=rows.order)


def _measure_members(context: TrainingContext, model: Model, ensemble: Ensemble, rows: ArrayRows) -> FoldMetrics:
    """Members of an ensemble, each alone, on the test fold."""
    with context.run.step("members") as step:
        whole, *members = measure_members(context.label, model, ensemble, rows)
        step.rows = rows.fold("test").table.num_rows * (1 + len(members))
    context.job.sections.append(ensemble_section([whole, *members], len(ensemble.members)))
    return {f"test_member_{one.name}": one.measured for one in members}


def _measure_importance(context: TrainingContext, importance: Importance, model: Model, test: ArrayRows) -> FoldMetrics:
    """What the model loses if rows of the test fold swap their values of a feature."""
    with context.run.step("importance") as step:
        of = measure_importance(importance, model, test, tasks_of(context.run.engine, test))
        step.rows = of.rows
    context.job.sections.append(importance_section(of))
    return of.measured


def _measure_ablations(
    context: TrainingContext, train: Train, model: Model, rows: ArrayRows, full: dict[str, Metric]
) -> FoldMetrics:
    """The gain of the features of `report.without`: trains the model once more without each group of them."""
    groups, run = context.run.conf.report.without, tasks_of(context.run.engine, rows)
    with context.run.step("without") as step:
        ablations = [measure_ablation(context.label, model, train, rows, features, run) for features in groups]
        step.rows = rows_to_fit(train.model, rows).table.num_rows * len(ablations)
    context.job.sections.append(
        ablations_section([(a.without, {n: (full[n], a.metrics[n], a.gain[n]) for n in a.gain}) for a in ablations])
    )
    return {a.name: a.measured for a in ablations}
