"""The page's section about a cascade, and the lines that say where its rows leave."""

from collections.abc import Iterator

import numpy as np

from keyfold.conf.train import Train
from keyfold.evaluation.metrics import metric_heading, metric_label
from keyfold.models.model import Model
from keyfold.reporting.page import ARROWS, PageSection, comma_list, html_table, percent
from keyfold.training.arrays import ArrayRows
from keyfold.training.context import TrainingContext
from keyfold.training.fitting import tasks_of
from keyfold.training.stages import MeasuredCascade, MeasuredExit, measure_stages
from keyfold.training.variants import FoldMetrics


def report_stages(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> FoldMetrics:
    """Measures the stages of a cascade, and its last stage alone on all rows; says and shows them."""
    assert train.model.cascade is not None
    with context.run.step("stages") as step:
        measured = measure_stages(context, train, train.model.cascade, model, rows, tasks_of(context.run.engine, rows))
        step.rows = 2 * measured.rows
    context.job.sections.append(cascade_section(measured))
    for line in cascade_lines(measured):
        context.run.say(line)
    return {"test_alone": measured.measured}


def cascade_section(measured: MeasuredCascade) -> PageSection:
    """Rows, precision and CPU seconds by stage, and the comparison with the last stage alone."""
    return PageSection("Cascade", _stages(measured) + _exits(measured) + _beside(measured), "metrics")


def cascade_lines(measured: MeasuredCascade) -> Iterator[str]:
    """Where rows leave, exits that nothing reaches, and the comparison with the last stage alone."""
    shares = [f"{stage.name} {percent(stage.left, measured.rows)}" for stage in measured.stages]
    yield f"rows of the test fold leave at: {', '.join(shares)}"
    for stage in measured.stages:
        for exit_ in stage.exits:
            if exit_.exit and exit_.exit.threshold is None:
                best = exit_.exit.precision
                why = "too few rows" if best is None else f"the best precision on the validation fold is {_floor(best)}"
                yield f"no row leaves at {stage.name} for {exit_.name}: {why}"
    name, difference = next(iter(measured.metrics.difference.items()))
    yield (
        f"{metric_label(name)} {measured.metrics.first[name]}; {measured.stages[-1].name} alone has {measured.alone[name]}, a difference of "
        f"{difference}, and the cascade takes {percent(measured.seconds, measured.seconds_alone)} of its CPU time"
    )


def _stages(measured: MeasuredCascade) -> str:
    cells = [
        (stage.name, stage.reached, stage.left, percent(stage.left, measured.rows), _seconds(stage.seconds))
        for stage in measured.stages
    ]
    caption = (
        f"The stages on the {measured.rows:,} rows of the test fold. CPU seconds are those of this machine, per million rows that reach "
        f"the stage, with the features that are computed there; {measured.timed:,} labelled rows were timed."
    )
    return html_table(["stage", "reached by", "rows leave", "share of all", "CPU seconds"], cells, caption=caption)


def _exits(measured: MeasuredCascade) -> str:
    cells = [
        (stage.name, one.name, _threshold(one), *_validation(one), one.rows, percent(one.right, one.rows))
        for stage in measured.stages
        for one in stage.exits
    ]
    caption = "Rows leave a stage for its predicted class from a probability on that was found on the validation fold."
    headings = ["stage", "class", "least probability", "validation: rows", "precision", "test: rows", "precision"]
    return html_table(headings, cells, caption=caption)


def _threshold(one: MeasuredExit) -> str:
    if one.exit is None:
        return "the rest"
    return "never" if one.exit.threshold is None else f"{one.exit.threshold:.4g}"


def _validation(one: MeasuredExit) -> tuple[object, object]:
    if one.exit is None:
        return "", ""
    return one.exit.rows, "" if one.exit.threshold is None else _floor(one.exit.precision or 0.0)


def _beside(measured: MeasuredCascade) -> str:
    cells: list[tuple[object, ...]] = [
        (metric_heading(name), value, measured.alone[name], measured.metrics.difference[name])
        for name, value in measured.metrics.first.items()
    ]
    cells.append(("CPU seconds per million rows", _seconds(measured.seconds), _seconds(measured.seconds_alone),
                  percent(measured.seconds, measured.seconds_alone)))  # fmt: skip
    caption = (
        f"The cascade, and the model of its last stage, trained on all rows with {comma_list(measured.features)}; the difference is on the "
        f"same bootstrap draws, that of CPU seconds is a share. {ARROWS}"
    )
    return html_table(["metric", "the cascade", f"{measured.stages[-1].name} alone", "difference"], cells, caption=caption)


def _seconds(value: float) -> str:
    return "" if np.isnan(value) else f"{value:,.1f}"


def _floor(precision: float) -> str:
    """A precision, rounded down, so that 0.9996 does not read as 1."""
    return f"{np.floor(precision * 1e4) / 1e4:.4g}"
