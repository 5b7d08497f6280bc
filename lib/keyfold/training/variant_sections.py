"""The page's sections about variants of a model that are compared with it."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keyfold.evaluation.metrics import metric_heading, metric_label
from keyfold.reporting.page import ARROWS, PageSection, html_table, interval_figure, note_html

if TYPE_CHECKING:
    from keyfold.training.variants import ComparedVariant


def comparison_section(compared: "Sequence[ComparedVariant]") -> PageSection:
    """The model and its variants: metrics, differences from the model, ratios to it, and seconds of training."""
    model, *variants = compared
    trained = [one for one in variants if not one.failure]
    names = list(dict.fromkeys(name for one in compared for name in one.metrics))
    cells = [(_heading(name), *(one.metrics.get(name) for one in (model, *trained))) for name in names]
    seconds = ("seconds of training", *(one.seconds for one in (model, *trained)))
    caption = "The model and its variants, trained on the same rows and measured on the same rows of the test fold."
    if any(name.endswith("_third") for name in names):
        caption += " Coverage of a third: of the interval, in a third of the rows by their predicted number."
    table = html_table(["metric", *(one.name for one in (model, *trained))], [*cells, seconds], caption=f"{caption} {ARROWS}")
    differences = [(_heading(name), *(one.difference.get(name) for one in trained)) for name in names]
    ratios = [(f"{metric_label(name)}, divided by that of the {model.name}", *(one.ratio.get(name) for one in trained))
              for name in names if any(name in one.ratio for one in trained)]  # fmt: skip
    headers = [f"minus the {model.name}", *(one.name for one in trained)]
    table += html_table(headers, differences + ratios, caption="Differences on the same bootstrap draws.") if trained else ""
    return PageSection(
        "Variants", table + _failures(variants) + _figure(names[0], trained, "no difference", "each variant"), "metrics"
    )


def candidates_section(metric: str, scores: Mapping[str, float | None], compared: "Sequence[ComparedVariant]") -> PageSection:
    """Candidates, the first of which is the model: their scores by the metric that chose it, metrics, differences, and seconds."""
    model, *others = compared
    names = list(model.metrics)
    chosen_by = f"chosen by {metric_heading(metric)}"
    headings = list(map(_heading, names))
    cells = [(one.name, scores.get(one.name), *map(one.metrics.get, names), one.seconds) for one in compared]
    caption = f"{model.name} is the model: it is the best by the score in the first column, on held-out rows outside the test fold. The other "
    table = html_table(
        ["candidate", chosen_by, *headings, "seconds of training"],
        cells,
        caption=f"{caption}columns are of the test fold, which took no part in the choice. {ARROWS}",
    )
    trained = [one for one in others if not one.failure]
    differences = [(one.name, *map(one.difference.get, names)) for one in trained]
    table += html_table([f"minus {model.name}", *headings], differences, caption="Differences on the same bootstrap draws.")
    return PageSection(
        "Candidates", table + _failures(others) + _figure(names[0], trained, "no difference", "each candidate"), "metrics"
    )


def rebalancing_section(compared: "Sequence[ComparedVariant]") -> PageSection:
    """Ways of rebalancing, the first of which is none: metrics, differences from it, and seconds of training."""
    none, *ways = compared
    names = list(none.metrics)
    headings = list(map(_heading, names))
    cells = [(one.name, *map(one.metrics.get, names), one.seconds) for one in compared]
    caption = "The same model by each way of rebalancing, on the same rows of the test fold. Probability over rate: the mean probability"
    table = html_table(
        ["way", *headings, "seconds of training"],
        cells,
        caption=f"{caption} divided by the rate of positives, best at 1. {ARROWS}",
    )
    trained = [way for way in ways if not way.failure]
    differences = [(way.name, *map(way.difference.get, names)) for way in trained]
    table += html_table([f"minus {none.name}", *headings], differences, caption="Differences on the same bootstrap draws.")
    return PageSection("Rebalancing", table + _failures(ways) + _figure(names[0], trained, "no gain", "each way"), "features")


def _heading(name: str) -> str:
    return metric_heading(name).replace("_", " ")


def _failures(variants: "Sequence[ComparedVariant]") -> str:
    return "".join(note_html(f"{one.name}:", one.failure, bad=True) for one in variants if one.failure)


def _figure(name: str, trained: "Sequence[ComparedVariant]", line: str, each: str) -> str:
    """A chart of the differences of one metric, if all have one."""
    label, gains = metric_label(name), {one.name: one.difference[name] for one in trained}
    if not gains or any(math.isnan(gain.value) for gain in gains.values()):
        return ""
    texts = f"{label} gained", f"difference of {label}, with its 95% interval", f"How much {label} {each} adds."
    return interval_figure(gains, 0, line, *texts)
