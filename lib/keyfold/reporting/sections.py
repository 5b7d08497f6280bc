"""The sections of a page that several jobs have."""

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np
from numpy.typing import ArrayLike

from keyfold.evaluation import curves
from keyfold.evaluation.metrics import Metric, Slice
from keyfold.evaluation.metrics import format_number as figures
from keyfold.reporting import charts
from keyfold.reporting.charts import figure_html
from keyfold.reporting.page import (
    ARROWS,
    METRIC_NAMES,
    NONE,
    PageSection,
    comma_list,
    height,
    html_table,
    interval_figure,
    note_html,
    percent,
    side_by_side,
)

_MANY = 100
_DRIFT = (
    (0.25, "the scores have drifted (0.25 or more)"),
    (0.1, "the scores have moved (0.1 or more)"),
    (0.0, "hardly any drift (below 0.1)"),
)


def reconciliation_section(
    counts: Mapping[str, int], reasons: Mapping[str, int], *, title: str = "Reconciliation", topic: str = "data"
) -> PageSection:
    """Checks that the first of `counts` is the sum of the others; `reasons` counts quarantined rows by reason."""
    (whole, total), *parts = counts.items()
    missing = total - sum(count for _, count in parts)
    equation = " + ".join(f"{count:,} {name}" for name, count in parts)
    verdict = "✓ every row has one outcome" if not missing else f"✗ {missing:,} rows are unaccounted for"
    said = note_html(f"{total:,} {whole} = {equation}", verdict, bad=bool(missing))
    shares = [(name, count, percent(count, total)) for name, count in counts.items()]
    colours = [charts.MUTED] + [charts.ORANGE if name == "quarantined" else charts.BLUE for name, _ in parts]
    draw = charts.bar_chart(
        list(counts), list(counts.values()), [f"{c:,}" for c in counts.values()],
        title=f"What became of the rows {whole}", x="rows", colours=colours,
    )  # fmt: skip
    shown = figure_html(draw, caption=f"{whole}: {total:,} rows, and what became of them.", width=500, height=height(counts))
    why = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    quarantine = html_table(["reason", "rows"], why, caption="Why rows were quarantined") if why else ""
    return PageSection(title, said + side_by_side(html_table(["rows", "count", "share"], shares), shown) + quarantine, topic)


def files_section(files: Mapping[str, tuple[int, int, int]], notes: Sequence[str]) -> list[PageSection]:
    """Rows read, kept and quarantined by file (a generator has none), and what else is to be told of them."""
    rows = sorted(((name, *counts) for name, counts in files.items() if name), key=lambda row: (-row[3], row[0]))
    caption = f"{len(rows):,} files" + (f"; the {_MANY} with the most rows quarantined" if len(rows) > _MANY else "")
    told = "".join(note_html("Note:", text) for text in notes)
    shown = html_table(["file", "read", "kept", "quarantined"], rows[:_MANY], caption=caption) if rows else ""
    return [PageSection("Files", told + shown, "files")] if told or shown else []


def folds_section(rows: Sequence[tuple[str, int, int | None]], share: Mapping[str, float] | None) -> PageSection:
    """(fold, rows, positives or None where that is unknown) each, against the shares asked for (0 to 1; None: none were)."""
    total = sum(count for _, count, _ in rows)
    part = [count / max(total, 1) for _, count, _ in rows]
    asked = [share.get(name, 0.0) for name, _, _ in rows] if share else None
    cells = [
        (name, count, percent(count, total), a, positives, None if positives is None else percent(positives, count))
        for (name, count, positives), a in zip(rows, [f"{a:.2%}" for a in asked] if asked else [NONE] * len(rows), strict=True)
    ]
    headers = ["fold", "rows", "share", "asked for", "positives", "positive rate"]
    draw = charts.bar_chart(
        [name for name, _, _ in rows], [100 * p for p in part], [f"{p:.1%}" for p in part],
        title="Share of the rows in each fold", x="share of rows (%)", marks=[100 * a for a in asked] if asked else None, marked="asked for",
    )  # fmt: skip
    said = "Observed share of each fold" + ("; a tick marks the share asked for." if asked else ".")
    shown = figure_html(draw, caption=said, width=500, height=height(rows))
    return PageSection("Folds", side_by_side(html_table(headers, cells), shown), "folds")


def features_section(rows: Sequence[Mapping[str, object]]) -> PageSection:
    """One mapping a feature: `name`, `kind`, `inputs` (text, or several), `width` (columns) and `note`."""
    cells = [(r["name"], r["kind"], comma_list(r["inputs"]), r["width"], r.get("note") or "") for r in rows]
    table = html_table(["feature", "kind", "inputs", "width", "note"], cells, caption=f"{len(rows):,} features")
    return PageSection("Features", table, "features")


def metrics_section(measured: Mapping[str, Mapping[str, Metric]], *, title: str = "Metrics") -> PageSection:
    """A table of the metrics (rows) of each fold (columns)."""
    names = list(dict.fromkeys(name for of in measured.values() for name in of))
    cells = [(METRIC_NAMES.get(name, name), *(of.get(name) for of in measured.values())) for name in names]
    return PageSection(title, html_table(["metric", *measured], cells, caption=ARROWS), "metrics")


def classification_sections(y: ArrayLike, p: ArrayLike, truth: ArrayLike | None = None) -> list[PageSection]:
    """Curves of the predicted probabilities of one fold.

    y: n booleans or 0/1; p: n probabilities of the positive class; truth: n true probabilities, for synthetic data.
    """
    y = np.asarray(y, float)
    if y.size == 0 or y.min() == y.max():
        return [PageSection("Curves", note_html("No curves:", "they need rows of both classes."), "curves")]
    base = float(y.mean())
    known = "" if truth is None else " Squares: the true probability, known because the data are synthetic."
    drawn = [
        (charts.roc_chart(curves.roc_curve(y, p)), "Positives found against negatives taken for positive."),
        (
            charts.precision_recall_chart(curves.pr_curve(y, p), base),
            f"How pure the found rows are, the more of the positives are found. Base rate: {base:.1%}.",
        ),
        (
            charts.calibration_chart(curves.calibration(y, p, truth=truth)),
            f"Bins of about equally many rows: what was predicted, and what came.{known}",
        ),
        (
            charts.lift_chart(curves.lift_curve(y, p)),
            "Positives among the rows with the highest scores, against a random choice.",
        ),
    ]
    return [PageSection("Curves", side_by_side(*(figure_html(draw, caption=caption) for draw, caption in drawn)), "curves")]


def slices_section(column: str, found: Mapping[str, Slice]) -> PageSection:
    """The metrics of each value of a column, as `keyfold.metrics.by_slice` gives them."""
    names = list(dict.fromkeys(name for of in found.values() for name in of.metrics))
    cells = [(value, of.rows, *(of.metrics.get(name) for name in names)) for value, of in found.items()]
    title = f"By {column}"
    told = html_table([column, "rows", *(METRIC_NAMES.get(name, name) for name in names)], cells, caption=ARROWS)
    known = {value: of.metrics[names[0]] for value, of in found.items() if names and not isnan(of.metrics[names[0]].value)}
    if not known:
        return PageSection(title, told, "slices")
    mean = float(np.average([m.value for m in known.values()], weights=[found[value].rows for value in known]))
    label = METRIC_NAMES.get(names[0], names[0]).rstrip(" ↑↓")
    said = f"{label} by {column}", f"{label}, with its 95% interval", f"{label} for each value of {column}."
    return PageSection(title, told + interval_figure(known, mean, f"mean over rows, {figures(mean)}", *said), "slices")


def identifiers_section(found: Mapping[str, object]) -> PageSection:
    """Names for machines, which a person needs to look something up."""
    return PageSection("Identifiers", html_table(["", "identifier"], list(found.items())), "time")


def scores_section(edges: ArrayLike, counts: ArrayLike, former: tuple[str, ArrayLike] | None = None) -> PageSection:
    """How many rows (counts, n) got a probability between edges (n + 1), beside those of a former period."""
    total = int(np.sum(counts))
    draw = charts.histogram_chart(edges, counts, "Predicted probabilities", "predicted probability", "rows", former)
    shown = figure_html(draw, caption=f"How {total:,} predicted probabilities are spread.", width=720, height=340)
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
    """The population stability index of two histograms over the same bins; half a row is added to each bin."""
    p, q = ((np.asarray(n, float) + 0.5) / (np.sum(n) + 0.5 * np.size(n)) for n in (counts, former))
    return float(np.sum((p - q) * np.log(p / q)))


def steps_section(rows: Sequence[tuple[str, int | None, float]]) -> PageSection:
    """(step, rows or None, seconds) each, in the order in which they ran."""
    total = sum(seconds for *_, seconds in rows)
    cells = [
        (name, count, seconds, percent(seconds, total), count / seconds if count is not None and seconds > 0 else None)
        for name, count, seconds in rows
    ]
    draw = charts.bar_chart(
        [name for name, *_ in rows], [seconds for *_, seconds in rows], [f"{seconds:,.1f} s" for *_, seconds in rows],
        title="Time by step", x="seconds",
    )  # fmt: skip
    shown = figure_html(draw, caption=f"{total:,.1f} seconds in all.", width=500, height=height(rows))
    return PageSection(
        "Time", side_by_side(html_table(["step", "rows", "seconds", "share", "rows a second"], cells), shown), "time"
    )
