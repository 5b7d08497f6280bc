"""Sections of the page about labels of several labels."""

from dataclasses import replace

import numpy as np

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.evaluation.metrics import metric_differences, metric_heading
from keyfold.evaluation.thresholds import UNTUNED
from keyfold.labels import Multilabel
from keyfold.reporting.page import ARROWS, PageSection, html_table, percent

SHOWN = 200  # labels, at most


def labels_sections(label: Multilabel, y: Bools, numbers: Doubles, order: Int64s) -> list[PageSection]:
    """Precision, recall and F1 of each label on one fold, and what its thresholds gain over 0.5.

    y: (n, k) whether each row has each label; numbers: (n, k) their probabilities; order: n integers, as for metrics.
    """
    table = _by_label(label, y, numbers)
    if set(label.thresholds) != {UNTUNED}:
        table += _gain(label, y, numbers, order)
    return [PageSection("Labels", table, "threshold")]


def _by_label(label: Multilabel, y: Bools, numbers: Doubles) -> str:
    decided = label.decide(numbers)
    rows, predicted, hits = (of.sum(axis=0).tolist() for of in (y, decided, y & decided))
    shown = np.argsort(-y.sum(axis=0), kind="stable")[:SHOWN].tolist()
    cells = [
        (
            label.labels[i], rows[i], predicted[i], f"{label.thresholds[i]:.3g}", percent(hits[i], predicted[i]),
            percent(hits[i], rows[i]), percent(2 * hits[i], rows[i] + predicted[i]),
        )
        for i in shown
    ]  # fmt: skip
    most = f"The {SHOWN} most frequent of {label.width:,} labels" if label.width > SHOWN else f"{label.width:,} labels"
    caption = f"{most}, on {len(y):,} rows of the test fold. A label is predicted from its threshold on."
    return html_table(["label", "rows", "predicted", "threshold", "precision", "recall", "F1"], cells, caption=caption)


def _gain(label: Multilabel, y: Bools, numbers: Doubles, order: Int64s) -> str:
    plain = replace(label, thresholds=(UNTUNED,) * label.width)
    gains = metric_differences(label, y, numbers, numbers, second_label=plain, order=order)
    cells = [(metric_heading(name), gain) for name, gain in gains.items() if gain.value]
    caption = f"What the thresholds of the validation fold gain over {UNTUNED}, on the same bootstrap draws. {ARROWS}"
    return html_table(["metric", "gain"], cells, caption=caption)
