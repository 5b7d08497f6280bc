"""Sections of the page that are made of numbers and text; those about a stage's own records are in its `page_sections`."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import isnan
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keyfold.evaluation import curves
from keyfold.evaluation.intervals import Metric, format_number
from keyfold.evaluation.metrics import is_brief, metric_heading, metric_label
from keyfold.evaluation.slices import Slice
from keyfold.evaluation.thresholds import UNTUNED
from keyfold.reporting import charts
from keyfold.reporting.charts import figure_html, json_script
from keyfold.reporting.page import (
    ARROWS,
    NONE,
    PageSection,
    bar_figure,
    comma_list,
    html_table,
    interval_figure,
    note_html,
    percent,
    render_template,
    side_by_side,
)

_MANY = 100
_DRIFT = (
    (0.25, "strong drift of the scores (0.25 or more)"),
    (0.1, "some drift of the scores (0.1 or more)"),
    (0.0, "no notable drift (below 0.1)"),
)


def reconciliation_section(
    counts: Mapping[str, int], reasons: Mapping[str, int], *, title: str = "Reconciliation", topic: str = "data"
) -> PageSection:
    """Checks that the first of `counts` is the sum of the others; `reasons` counts quarantined rows by reason."""
    (whole, total), *parts = counts.items()
    missing = total - sum(count for _, count in parts)
    equation = " + ".join(f"{count:,} {name}" for name, count in parts)
    verdict = "✓ every row has one outcome" if not missing else f"✗ {missing:,} rows are unaccounted for"
    note = note_html(f"{total:,} {whole} = {equation}", verdict, bad=bool(missing))
    shares = [(name, count, percent(count, total)) for name, count in counts.items()]
    colours = [charts.MUTED] + [charts.ORANGE if name == "quarantined" else charts.BLUE for name, _ in parts]
    shown = bar_figure(
        list(counts), list(counts.values()), [f"{c:,}" for c in counts.values()],
        title=f"Rows {whole}, by outcome", x="rows", colours=colours, caption=f"{total:,} rows {whole}, by outcome.",
    )  # fmt: skip
    why = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    quarantine = html_table(["reason", "rows"], why, caption="Why rows were quarantined") if why else ""
    return PageSection(title, note + side_by_side(html_table(["rows", "count", "share"], shares), shown) + quarantine, topic)


def files_section(files: Mapping[str, tuple[int, int, int]], notes: Sequence[str]) -> list[PageSection]:
    """Rows read, kept and quarantined by file, and notes about them; no section if there is neither (data of a generator)."""
    rows = sorted(((name, *counts) for name, counts in files.items() if name), key=lambda row: (-row[3], row[0]))
    caption = f"{len(rows):,} files" + (f"; the {_MANY} with the most rows quarantined" if len(rows) > _MANY else "")
    noted = "".join(note_html("Note:", text) for text in notes)
    table = html_table(["file", "read", "kept", "quarantined"], rows[:_MANY], caption=caption) if rows else ""
    return [PageSection("Files", noted + table, "files")] if noted or table else []


def folds_section(rows: Sequence[tuple[str, int, int | None]], share: Mapping[str, float] | None) -> PageSection:
    """Rows by fold: (fold, rows, positives or None if unknown); `share`: the configured shares (0 to 1), None if there are none."""
    total = sum(count for _, count, _ in rows)
    observed = [count / max(total, 1) for _, count, _ in rows]
    configured = [share.get(name, 0.0) for name, _, _ in rows] if share else None
    cells = [
        (name, count, percent(count, total), wanted, positives, None if positives is None else percent(positives, count))
        for (name, count, positives), wanted in zip(
            rows, [f"{part:.2%}" for part in configured] if configured else [NONE] * len(rows), strict=True
        )
    ]
    headers = ["fold", "rows", "share", "configured", "positives", "positive rate"]
    chart = bar_figure(
        [name for name, _, _ in rows], [100 * part for part in observed], [f"{part:.1%}" for part in observed],
        title="Share of the rows in each fold", x="share of rows (%)",
        marks=[100 * part for part in configured] if configured else None, marked="configured",
        caption="Observed share of each fold" + ("; a tick marks the configured share." if configured else "."),
    )  # fmt: skip
    return PageSection("Folds", side_by_side(html_table(headers, cells), chart), "folds")


def features_section(rows: Sequence[Mapping[str, object]]) -> PageSection:
    """A mapping for each feature: `name`, `kind`, `inputs` (text or a list), `width` (columns) and `note` (optional)."""
    cells = [(r["name"], r["kind"], comma_list(r["inputs"]), r["width"], r.get("note") or "") for r in rows]
    table = html_table(["feature", "kind", "inputs", "width", "note"], cells, caption=f"{len(rows):,} features")
    return PageSection("Features", table, "features")


def metrics_section(measured: Mapping[str, Mapping[str, Metric]]) -> PageSection:
    """Table of metrics (rows) by fold (columns)."""
    names = list(dict.fromkeys(name for of in measured.values() for name in of))
    cells = [(metric_heading(name), *(of.get(name) for of in measured.values())) for name in names]
    return PageSection("Metrics", html_table(["metric", *measured], cells, caption=ARROWS), "metrics")


def classification_sections(
    y: ArrayLike, p: ArrayLike, truth: ArrayLike | None = None, *, threshold: float = UNTUNED
) -> list[PageSection]:
    """Curves of the predicted probabilities of one fold, and its confusion matrix at the threshold.

    y: n booleans or 0/1; p: n probabilities of the positive class; truth: n true probabilities, for synthetic data.
    """
    y = np.asarray(y, float)
    if y.size == 0 or y.min() == y.max():
        return [PageSection("Curves", note_html("No curves:", "they need rows of both classes."), "curves")]
    base = float(y.mean())
    known = "" if truth is None else " Squares: the true probability, known for synthetic data."
    charts_by_caption = {
        "Share of positives found against share of negatives taken for positive.":
            partial(charts.roc_chart, curve=curves.roc_curve(y, p)),
        f"Precision at each recall. Base rate: {base:.1%}.":
            partial(charts.precision_recall_chart, curve=curves.pr_curve(y, p), base=base),
        f"Predicted probability and observed rate, in bins of about equal size.{known}":
            partial(charts.calibration_chart, curve=curves.calibration(y, p, truth=truth)),
        "Positive rate of the rows with the highest scores, over that of all rows.":
            partial(charts.lift_chart, curve=curves.lift_curve(y, p)),
    }  # fmt: skip
    shown = side_by_side(*(figure_html(draw, caption=caption) for caption, draw in charts_by_caption.items()))
    return [PageSection("Curves", shown, "curves"), threshold_section(y, p, threshold)]


def threshold_section(y: ArrayLike, p: ArrayLike, threshold: float = UNTUNED) -> PageSection:
    """The confusion matrix at the threshold, a slider for other ones, and a table of some, which can be read without scripts.

    y: n booleans or 0/1; p: n probabilities of the positive class. Rows with p at or above the threshold are predicted positive.
    """
    positive, p, steps = np.asarray(y) == 1, np.asarray(p, float), np.append(np.arange(101) / 100, threshold)
    tp, fp = (np.count_nonzero(positive == of) - np.searchsorted(np.sort(p[positive == of]), steps) for of in (True, False))
    matrices = [Confusion(int(t), int(f), int(tp[0] - t), int(fp[0] - f)) for t, f in zip(tp, fp, strict=True)]
    data = json_script({"tp": tp[:101].tolist(), "fp": fp[:101].tolist(), "positives": int(tp[0]), "negatives": int(fp[0])})
    of_model, text = matrices[-1], _threshold_text(threshold)
    shown = render_template(
        "threshold.html.j2", **{k: f"{n:,}" for k, n in of_model._asdict().items()}, shares=of_model.shares, data=data,
        threshold=text, step=min(100, round(100 * threshold)),
    )  # fmt: skip
    headers = ["threshold", "true positives", "false positives", "false negatives", "true negatives", *of_model.shares]
    at = {_threshold_text(steps[i]): matrices[i] for i in range(10, 100, 10)} | {text: of_model}
    cells = [(name, *matrix, *matrix.shares.values()) for name, matrix in sorted(at.items(), key=lambda item: float(item[0]))]
    return PageSection("Threshold", shown + html_table(headers, cells, caption="The same at other thresholds."), "threshold")


def _threshold_text(threshold: float) -> str:
    return f"{threshold:.2f}" if round(threshold, 2) == threshold else f"{threshold:.6g}"


class Confusion(NamedTuple):
    """Rows by class and prediction."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def shares(self) -> dict[str, str | None]:
        """Precision, recall, share of rows predicted positive, and accuracy, as percentages."""
        return {
            "precision": percent(self.tp, self.tp + self.fp),
            "recall": percent(self.tp, self.tp + self.fn),
            "predicted positive": percent(self.tp + self.fp, sum(self)),
            "accuracy": percent(self.tp + self.tn, sum(self)),
        }


def slices_section(column: str, slices: Mapping[str, Slice]) -> PageSection:
    """The brief metrics for each value of a column, as `keyfold.evaluation.slices.slice_metrics` returns them."""
    measured = list(dict.fromkeys(name for part in slices.values() for name in part.metrics))
    names = list(filter(is_brief, measured)) or measured
    cells = [(value, part.rows, *(part.metrics.get(name) for name in names)) for value, part in slices.items()]
    title = f"By {column}"
    table = html_table([column, "rows", *(metric_heading(name) for name in names)], cells, caption=ARROWS)
    first = {value: part.metrics[names[0]] for value, part in slices.items() if names and not isnan(part.metrics[names[0]].value)}
    if not first:
        return PageSection(title, table, "slices")
    mean = float(np.average([metric.value for metric in first.values()], weights=[slices[value].rows for value in first]))
    label = metric_label(names[0])
    texts = f"{label} by {column}", f"{label}, with its 95% interval", f"{label} for each value of {column}."
    chart = interval_figure(first, mean, f"mean over rows, {format_number(mean)}", *texts)
    return PageSection(title, table + chart, "slices")


def links_section(links: Mapping[str, object]) -> PageSection:
    """Identifiers and links of the run, its inputs and its model, by label."""
    return PageSection("Links", html_table(["what", "identifier"], list(links.items())), "time")


def scores_section(edges: ArrayLike, counts: ArrayLike, former: tuple[str, ArrayLike] | None = None) -> PageSection:
    """Histogram of predicted probabilities: counts (n) between edges (n + 1), and those of a former period (name, n)."""
    total = int(np.sum(counts))
    caption = f"Distribution of {total:,} predicted probabilities."
    shown = figure_html(lambda ax: charts.scores_chart(ax, edges, counts, former), caption=caption, width=720, height=340)
    if former is None:
        return PageSection("Scores", shown, "predictions")
    index = stability(counts, former[1])
    verdict = next(words for least, words in _DRIFT if index >= least)
    return PageSection(
        "Scores",
        shown + note_html(f"Population stability index against {former[0]}: {index:.3f}", verdict, bad=index >= _DRIFT[0][0]),
        "predictions",
    )


def stability(counts: ArrayLike, former: ArrayLike) -> float:
    """Population stability index of two histograms over the same bins; half a row is added to each bin."""
    p, q = ((np.asarray(n, float) + 0.5) / (np.sum(n) + 0.5 * np.size(n)) for n in (counts, former))
    return float(np.sum((p - q) * np.log(p / q)))


def steps_section(rows: Sequence[tuple[str, int | None, float]]) -> PageSection:
    """Time by step: (step, rows or None, seconds), in the order in which they ran."""
    total = sum(seconds for *_, seconds in rows)
    cells = [
        (name, count, seconds, percent(seconds, total), count / seconds if count is not None and seconds > 0 else None)
        for name, count, seconds in rows
    ]
    shown = bar_figure(
        [name for name, *_ in rows], [seconds for *_, seconds in rows], [f"{seconds:,.1f} s" for *_, seconds in rows],
        title="Time by step", x="seconds", caption=f"{total:,.1f} seconds in all.",
    )  # fmt: skip
    return PageSection(
        "Time", side_by_side(html_table(["step", "rows", "seconds", "share", "rows a second"], cells), shown), "time"
    )
