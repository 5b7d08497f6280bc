"""Metrics of a trained model on the rows that were held out, and their sections of the page."""

from typing import TYPE_CHECKING

import numpy as np

from keyfold.conf.train import Train
from keyfold.core.names import NUMBER
from keyfold.evaluation import metrics, slices
from keyfold.evaluation.intervals import Metric
from keyfold.labels import Label
from keyfold.models.model import Model
from keyfold.reporting.page import PageSection
from keyfold.reporting.sections import classification_sections, metrics_section, slices_section
from keyfold.training.ablation import measure_ablation
from keyfold.training.arrays import EXTRA, ArrayRows, measure_model, row_weights
from keyfold.training.context import TrainingContext
from keyfold.training.page_sections import ablations_section

if TYPE_CHECKING:
    from keyfold.conf.report import Report

FoldMetrics = dict[str, dict[str, Metric]]


def evaluate_model(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> FoldMetrics:
    """The metrics of validation and test, cross-validated if the conf says so, and without the features of `report.without`."""
    conf, test = context.run.conf, rows.fold("test")
    with context.run.step("evaluate") as step:
        measured = {
            fold: measure_model(model, part) for fold in ("validation", "test") if (part := rows.fold(fold)).table.num_rows
        }
        if conf.split.folds:
            measured["cross_validated"] = _cross_validate(context, train, model.label, rows.outside_test)
        step.rows = sum(rows.fold(fold).table.num_rows for fold in measured)
        context.job.sections += _sections(conf.report, model, test, measured)
    if conf.report.without and "test" in measured:
        measured |= _measure_ablations(context, train, model, rows, measured["test"])
    return measured


def _sections(report: "Report", model: Model, test: ArrayRows, measured: FoldMetrics) -> list[PageSection]:
    sections = [metrics_section(measured)] if measured else []
    if not test.table.num_rows:
        return sections
    predicted = model.numbers(test.arrays)
    if model.label.has_classes:
        truth = test.table[EXTRA + report.truth].to_numpy() if report.truth else None
        sections += classification_sections(test.y, predicted, truth)
    for name in report.slices:
        groups = np.array(test.table[EXTRA + name].to_pylist(), dtype=object)
        by_value = slices.slice_metrics(model.label, test.truth, predicted, groups, order=test.order, replicates=100)
        sections.append(slices_section(name, by_value))
    return sections


def _cross_validate(context: TrainingContext, train: Train, label: Label, rows: ArrayRows) -> dict[str, Metric]:
    """The metrics of rows outside test, each predicted by a model that was trained on the other parts."""
    assert train.model.sklearn is not None
    number = rows.table[EXTRA + NUMBER].to_numpy()
    predicted = np.full((len(number), label.width) if label.width > 1 else len(number), np.nan)
    for k in range(context.run.conf.split.folds or 0):
        learn, held_out = (rows.filter(mask) for mask in (number != k, number == k))
        if held_out.table.num_rows:
            weight = row_weights(learn, context.class_weights)
            estimator = train.model.sklearn.fit(rows.spec, learn.arrays, learn.y, weight, train.seed)
            predicted[number == k] = estimator.numbers(held_out.arrays, label)
    return metrics.measure_predictions(label, rows.truth, predicted, order=rows.order)


def _measure_ablations(
    context: TrainingContext, train: Train, model: Model, rows: ArrayRows, full: dict[str, Metric]
) -> FoldMetrics:
    """The gain of the features of `report.without`: trains the model once more without each group of them."""
    learn, test, groups = rows.fold("train"), rows.fold("test"), context.run.conf.report.without
    weight = row_weights(learn, context.class_weights)
    with context.run.step("without") as step:
        ablations = [measure_ablation(model, train, learn, test, weight, features) for features in groups]
        step.rows = learn.table.num_rows * len(ablations)
    context.job.sections.append(
        ablations_section([(a.without, {n: (full[n], a.metrics[n], a.gain[n]) for n in a.gain}) for a in ablations])
    )
    return {a.name: a.measured for a in ablations}
