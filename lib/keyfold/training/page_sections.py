"""The page's sections about a training: trials, the gain of features, labels, memorized rows, the comparison with the champion."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keyfold.conf.tune import Range, Tune
from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import metric_differences, metric_heading, metric_label
from keyfold.evaluation.thresholds import UNTUNED
from keyfold.labels import Multilabel
from keyfold.reporting import charts
from keyfold.reporting.charts import VerticalAxis, figure_html
from keyfold.reporting.page import ARROWS, PageSection, comma_list, html_table, interval_figure, percent, side_by_side
from keyfold.training.trials import Trial, TuningResult, format_parameter

if TYPE_CHECKING:
    from keyfold.training.members import MeasuredMember
    from keyfold.training.memorize import MemorizedLoss

_BEST = 20
SHOWN_LABELS = 200
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


def picture_axes(tune: Tune, tuned: TuningResult) -> list[VerticalAxis]:
    """An axis for each parameter and one for the metric, with the positions of the complete trials on it (0 to 1)."""
    complete = [t for t in tuned.trials if t.value is not None]
    axes = [_axis(path, values, [t.params[path] for t in complete]) for path, values in tune.over.items()]
    metric = [float(t.value) for t in complete if t.value is not None]
    return [*axes, _axis(tuned.metric, Range.model_construct(low=min(metric), high=max(metric)), metric)]


def _axis(name: str, scale: list[Any] | Range, values: Sequence[Any]) -> VerticalAxis:
    if isinstance(scale, list):
        steps = max(1, len(scale) - 1)
        marks = [(i / steps, format_parameter(v)) for i, v in enumerate(scale)]
        return VerticalAxis(name, [scale.index(v) / steps for v in values], marks)
    transform = math.log if scale.log else float
    low, width = transform(scale.low), (transform(scale.high) - transform(scale.low)) or 1.0
    return VerticalAxis(name, [(transform(v) - low) / width for v in values], [(0, f"{scale.low:.4g}"), (1, f"{scale.high:.4g}")])


def ablations_section(ablations: Sequence[tuple[Sequence[str], Mapping[str, tuple[Metric, Metric, Metric]]]]) -> PageSection:
    """Gain of features: their names, and by metric its value with all features, without these, and the difference."""
    cells = [(comma_list(list(names)), metric_heading(n), *three) for names, of in ablations for n, three in of.items()]
    caption = (
        "The same model trained without some features, on the same rows of the test fold. The difference compares both models on "
    )
    caption += f"the same bootstrap draws. {ARROWS}"
    table = html_table(["without", "metric", "all features", "without these", "difference"], cells, caption=caption)
    first = next((name for _, of in ablations for name in of), "")
    gains = {comma_list(list(names)): of[first][2] for names, of in ablations if not math.isnan(of[first][2].value)}
    label = metric_label(first)
    texts = (
        f"{label} gained",
        f"difference of {label}, with its 95% interval",
        f"How much {label} features add to all others.",
    )
    return PageSection("Gain of features", table + (interval_figure(gains, 0, "no gain", *texts) if gains else ""), "features")


def labels_section(label: Multilabel, y: Bools, numbers: Doubles, order: Int64s) -> PageSection:
    """Precision, recall and F1 of each label on one fold, and what its thresholds gain over 0.5.

    y: (n, k) whether each row has each label; numbers: (n, k) their probabilities; order: n integers, as for metrics.
    """
    table = _by_label(label, y, numbers)
    if set(label.thresholds) != {UNTUNED}:
        table += _gain(label, y, numbers, order)
    return PageSection("Labels", table, "threshold")


def _by_label(label: Multilabel, y: Bools, numbers: Doubles) -> str:
    decided = label.decide(numbers)
    rows, predicted, hits = (of.sum(axis=0).tolist() for of in (y, decided, y & decided))
    shown = np.argsort(-y.sum(axis=0), kind="stable")[:SHOWN_LABELS].tolist()
    cells = [
        (
            label.labels[i], rows[i], predicted[i], f"{label.thresholds[i]:.3g}", percent(hits[i], predicted[i]),
            percent(hits[i], rows[i]), percent(2 * hits[i], rows[i] + predicted[i]),
        )
        for i in shown
    ]  # fmt: skip
    most = (
        f"The {SHOWN_LABELS} most frequent of {label.width:,} labels" if label.width > SHOWN_LABELS else f"{label.width:,} labels"
    )
    caption = f"{most}, on {len(y):,} rows of the test fold. A label is predicted from its threshold on."
    return html_table(["label", "rows", "predicted", "threshold", "precision", "recall", "F1"], cells, caption=caption)


def _gain(label: Multilabel, y: Bools, numbers: Doubles, order: Int64s) -> str:
    plain = replace(label, thresholds=(UNTUNED,) * label.width)
    gains = metric_differences(label, y, numbers, numbers, second_label=plain, order=order)
    cells = [(metric_heading(name), gain) for name, gain in gains.items() if gain.value]
    caption = f"What the thresholds of the validation fold gain over {UNTUNED}, on the same bootstrap draws. {ARROWS}"
    return html_table(["metric", "gain"], cells, caption=caption)


def ensemble_section(measured: "Sequence[MeasuredMember]", members: int) -> PageSection:
    """The whole and its members: metrics, the gain of the whole over each member, weights, and the speed of prediction."""
    whole, *others = measured
    cells = [
        (one.name or "the ensemble", metric_heading(name), value, one.gain.get(name, ""), _weight(one), f"{one.seconds:,.1f} s")
        for one in measured
        for name, value in one.metrics.items()
    ]
    shown = "" if len(others) == members else f", of which the first {len(others)} are shown"
    caption = f"The ensemble and its {members} members{shown}, on the same rows of the test fold. The gain is the metric of the ensemble "
    caption += f"minus that of the member, on the same bootstrap draws. Prediction takes the time on this machine. {ARROWS}"
    table = html_table(["model", "metric", "value", "gain of the ensemble", "weight", "per million rows"], cells, caption=caption)
    first = next(iter(whole.metrics), "")
    gains = {one.name: one.gain[first] for one in others if first in one.gain and not math.isnan(one.gain[first].value)}
    label = metric_label(first)
    texts = (
        f"{label} gained",
        f"difference of {label}, with its 95% interval",
        f"How much {label} the ensemble gains over each member.",
    )
    return PageSection("Ensemble", table + (interval_figure(gains, 0, "no gain", *texts) if gains else ""), "metrics")


def _weight(one: "MeasuredMember") -> str:
    return "" if one.weight is None else f"{one.weight:.4g}"


def memorize_section(memorized: "MemorizedLoss") -> PageSection:
    """The loss, its floor, and a note that generalisation was not tested."""
    cells = [
        ("the network", memorized.loss),
        ("floor: the best that these features allow", memorized.floor),
        ("the best constant", memorized.constant),
    ]
    note = (
        "<p>The network has memorized all rows (useful overfitting). No row was held out, so these losses say nothing about other "
        "rows. Generalisation was not tested.</p>"
    )
    table = html_table(["mean loss over the rows trained on", "value"], [(name, f"{value:.6g}") for name, value in cells])
    return PageSection("Memorized rows", note + table, "metrics")


def comparison_section(version: str, former: str, compared: Mapping[str, tuple[Metric, Metric, Metric]]) -> PageSection:
    """By metric: that of a version, that of the former champion, and their difference, all on the same rows."""
    cells = [(metric_heading(name), *values) for name, values in compared.items()]
    caption = f"Both models on the same rows of the test fold. The difference compares both on the same bootstrap draws. {ARROWS}"
    return PageSection(
        "Against the champion", html_table(["metric", version, former, "difference"], cells, caption=caption), "verdict"
    )
