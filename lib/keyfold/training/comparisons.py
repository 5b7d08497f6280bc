"""Comparisons of the model with variants of it (`report.compare`), and of ways of rebalancing with none (`report.rebalance`)."""

from keyfold.conf.train import Train
from keyfold.conf.variants import MODEL
from keyfold.evaluation import metrics, paired
from keyfold.evaluation.metrics import NUMBER
from keyfold.evaluation.paired import Measures, Predicted
from keyfold.labels import Bands, Binary, Label, Number
from keyfold.models.model import Model
from keyfold.training.ablation import without_features
from keyfold.training.arrays import ArrayRows
from keyfold.training.context import TrainingContext
from keyfold.training.fitting import rows_to_fit, tasks_of
from keyfold.training.variant_sections import comparison_section, rebalancing_section
from keyfold.training.variants import FoldMetrics, Variant, compare_variants, logged_name, predict_model, train_variant


def compare_with_model(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> FoldMetrics:
    """The variants of `report.compare`: trains each, and compares it with the model on the test fold."""
    with context.run.step("compare") as step:
        variants = [_variant(context, name, train) for name in context.run.conf.variants]
        run = tasks_of(context.run.engine, rows)
        compared = compare_variants(predict_model(MODEL, model, rows), variants, rows, measures_of, run, [metrics.LOSS[NUMBER]])
        step.rows = sum(rows_to_fit(variant.train.model, rows).table.num_rows for variant in variants)
    context.job.sections.append(comparison_section(compared))
    return {logged_name("test_compared", one.name): one.measured for one in compared if one.metrics}


def _variant(context: TrainingContext, name: str, train: Train) -> Variant:
    """train: with the parameters that were tuned, if any."""
    options, of = context.run.conf.report.compare[name], context.run.conf.variants[name]
    assert of.label
    assert of.train
    merged = of.train if "model" in options.train else of.train.with_model(train.model)
    spec = without_features(context.spec, options.without) if options.without else context.spec
    return Variant(name, of.label, merged, spec)


def measures_of(predicted: Predicted) -> Measures:
    """What a model and its variants are compared by: numbers as numbers, else the metrics of the label that have intervals."""
    if isinstance(predicted.label, Bands | Number):
        return paired.number_measures(predicted)
    of = {name: metrics.METRICS[name] for name in metrics.names_of(predicted.label)}
    return {name: metric.measure for name, metric in of.items() if metric.bootstrap and not metric.costly}


def compare_rebalancing(context: TrainingContext, train: Train, rows: ArrayRows) -> FoldMetrics:
    """The ways of `report.rebalance` and none: trains the model once more with each."""
    report, run = context.run.conf.report, tasks_of(context.run.engine, rows_to_fit(train.model, rows))
    none, *ways = (
        Variant(str(way or "none"), context.label, train.model_copy(update={"rebalance": way}), context.spec, rows.label)
        for way in (None, *report.rebalance)
    )
    measures = _measures_of_ways(rows.label, report.precision)
    with context.run.step("rebalance") as step:
        compared = compare_variants(train_variant(none, rows, run), ways, rows, lambda _: measures, run)
        step.rows = rows_to_fit(train.model, rows).table.num_rows * len(compared)
    context.job.sections.append(rebalancing_section(compared))
    return {logged_name("test_rebalanced", one.name): one.measured for one in compared if one.metrics}


def _measures_of_ways(label: Label, precision: float) -> Measures:
    """What ways of rebalancing are compared by: that of rare classes for two classes, else the metrics of lists of versions."""
    if not isinstance(label, Binary):
        return {name: metrics.METRICS[name].measure for name in metrics.names_of(label) if metrics.is_brief(name)}
    return {name: metrics.METRICS[name].measure for name in metrics.FOR_RARE_CLASSES} | {
        f"recall_at_precision_{precision:g}": paired.recall_at_precision(precision),
        "probability_over_rate": paired.mean_over_rate,
    }
