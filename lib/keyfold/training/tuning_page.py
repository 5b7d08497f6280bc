"""The section of the page about trials: a table of the best, their picture, and the importance of the parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from keyfold.conf.tune import Range, Tune
from keyfold.evaluation.metrics import metric_heading, metric_label
from keyfold.reporting import charts
from keyfold.reporting.charts import Upright, figure_html
from keyfold.reporting.page import PageSection, html_table, percent, side_by_side
from keyfold.tracking.trials import Trial, TuningResult

_BEST = 20
_STATES = {"complete": "complete", "pruned": "ended early", "fail": "failed"}


def tuning_section(tune: Tune, tuned: TuningResult) -> PageSection:
    """The trials, best first, and each parameter's share of the importance."""
    trials = tuned.trials
    name = metric_heading(tuned.metric)
    drawn = figure_html(
        lambda ax: charts.parallel_chart(
            ax, picture_axes(tune, tuned), "Parameters of the trials", f"trial {trials[0].place + 1}, the best"
        ),
        caption=f"One line per trial, over its parameters to its {metric_label(tuned.metric)}; darker lines are better.", width=720, height=340,
    )  # fmt: skip
    table = _trials_table(trials, name)
    return PageSection("Trials", table + side_by_side(drawn, _importance_table(tuned.importance)), "metrics")


def _trials_table(trials: Sequence[Trial], metric: str) -> str:
    states = [trial.state.lower() for trial in trials]
    counts = ", ".join(f"{states.count(state)} {word}" for state, word in _STATES.items() if state in states)
    cells = [
        (t.place + 1, *map(format_parameter, t.params.values()), t.value, f"{_STATES[t.state.lower()]}{': ' * bool(t.why)}{t.why[:200]}")
        for t in trials[:_BEST]
    ]  # fmt: skip
    best = f"; the best {_BEST}" if len(trials) > _BEST else ", best first"
    return html_table(["trial", *trials[0].params, metric, "state"], cells, caption=f"{len(trials)} trials ({counts}){best}.")


def _importance_table(importance: Mapping[str, float]) -> str:
    if not importance:
        return ""
    cells = [(path, percent(share, 1)) for path, share in importance.items()]
    return html_table(
        ["parameter", "importance"], cells, caption="Share of the variance of the metric that each explains (fANOVA)."
    )


def picture_axes(tune: Tune, tuned: TuningResult) -> list[Upright]:
    """An axis for each parameter and one for the metric, with the places of the complete trials on it (0 to 1)."""
    complete = [t for t in tuned.trials if t.value is not None]
    axes = [_axis(path, values, [t.params[path] for t in complete]) for path, values in tune.over.items()]
    metric = [float(t.value) for t in complete if t.value is not None]
    return [*axes, _axis(tuned.metric, Range.model_construct(low=min(metric), high=max(metric)), metric)]


def _axis(name: str, scale: list[Any] | Range, values: Sequence[Any]) -> Upright:
    if isinstance(scale, list):
        steps = max(1, len(scale) - 1)
        marks = [(i / steps, format_parameter(v)) for i, v in enumerate(scale)]
        return Upright(name, [scale.index(v) / steps for v in values], marks)
    transform = math.log if scale.log else float
    low, width = transform(scale.low), (transform(scale.high) - transform(scale.low)) or 1.0
    return Upright(name, [(transform(v) - low) / width for v in values], [(0, f"{scale.low:.4g}"), (1, f"{scale.high:.4g}")])


def format_parameter(value: object) -> str:
    """A value of a parameter as text, numbers with four digits."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
