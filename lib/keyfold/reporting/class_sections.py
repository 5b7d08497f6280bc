"""Sections of the page about predicted classes and labels: confusion matrix, rates by class, chosen thresholds, calibration."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.evaluation.curves import calibration, confusion_matrix
from keyfold.evaluation.thresholds import ChosenThreshold
from keyfold.reporting import charts
from keyfold.reporting.charts import figure_html
from keyfold.reporting.page import PageSection, html_table, percent, side_by_side

MOST = 20  # classes in the confusion matrix; others are pooled
_MANY = 100  # classes in the table of rates
_OTHERS = "(others)"
_UNKNOWN = "(unknown to the train fold)"
_CURVES = 6  # of thresholds, by label


def classes_section(names: Sequence[str], y: Int64s, predicted: Int64s) -> PageSection:
    """The confusion matrix, and precision, recall and F1 of each class.

    names: of the k classes; y: n codes, -1 for a class that the train fold does not have; predicted: n codes.
    """
    matrix = confusion_matrix(y, predicted, len(names))
    true, guessed, hit = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    unknown = int(true[len(names) :].sum())
    cells = [
        (name, *_rates(int(rows), int(of), int(right))) for name, rows, of, right in zip(names, true, guessed, hit, strict=False)
    ]
    if unknown:
        cells.append((_UNKNOWN, unknown, 0, None, "0.00%", None))
    shown, *rest = _pooled(names, matrix)
    pooled = f" The {MOST} most frequent classes; {len(names) - MOST:,} others are together." if rest[0] else ""
    caption = f"Rows of the test fold by class (one row each) and predicted class (one column each); colours: share of the class.{pooled}"
    return PageSection("Classes", heat_table(*shown, caption=caption) + _rates_table("class", cells), "curves")


def thresholds_section(chosen: Mapping[str, ChosenThreshold]) -> PageSection:
    """The curves that thresholds were chosen from, by class or label; those of a few labels."""
    curves = {name: one for name, one in chosen.items() if one.curves}
    shown = [
        figure_html(
            lambda ax, one=one: charts.threshold_chart(ax, one.curves, one.threshold),  # type: ignore[misc]
            caption=f"{name}: predicted from a probability of {one.threshold:.4g}, chosen on the validation fold.",
        )
        for name, one in list(curves.items())[:_CURVES]
    ]
    untuned = [name for name in chosen if name not in curves]
    why = (
        f"<p>Not chosen, since no row or each row of the validation fold has them, but 0.5: {len(untuned):,} labels.</p>"
        if untuned
        else ""
    )
    more = f"<p>The first {_CURVES} of {len(curves):,} labels.</p>" if len(curves) > _CURVES else ""
    return PageSection("How thresholds were chosen", side_by_side(*shown) + more + why, "threshold")


class Claims(NamedTuple):
    """n probabilities, and whether what each is of is true."""

    true: Bools
    probability: Doubles


def calibration_section(method: str, before: Claims, after: Claims) -> PageSection:
    """Reliability on the test fold before and after calibration, and the expected calibration error."""
    found = {"before": calibration(*before), "after": calibration(*after)}
    cells = [
        (f"{name} calibration", float(np.average(abs(of.predicted - of.observed), weights=of.rows))) for name, of in found.items()
    ]
    drawn = [
        figure_html(lambda ax, of=of: charts.calibration_chart(ax, of), caption=f"The test fold {name} calibration ({method}).")  # type: ignore[misc]
        for name, of in found.items()
    ]
    table = html_table(
        ["expected calibration error", "test fold"], cells,
        caption="Mean distance of predicted and observed rates, over ten bins with about as many rows each.",
    )  # fmt: skip
    return PageSection("Calibration", table + side_by_side(*drawn), "curves")


def heat_table(rows: Sequence[str], columns: Sequence[str], counts: Doubles, *, caption: str) -> str:
    """HTML of a table of numbers, (rows, columns), coloured by their share of their row."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = Markup().join(Markup('<th class="n" scope="col">{}</th>').format(name) for name in columns)
    cell = Markup('<td class="n" style="background: color-mix(in srgb, var(--blue) {:.0f}%, transparent)">{}</td>')
    body = Markup().join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            name, Markup().join(cell.format(60 * part, f"{int(n):,}") for part, n in zip(shares, numbers, strict=True))
        )
        for name, shares, numbers in zip(rows, share, counts, strict=True)
    )
    whole = Markup(
        '<div class="scroll"><table class="fixed"><caption>{}</caption><thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>'
    )
    return str(whole.format(caption, head, body))


def _rates(true: int, predicted: int, hit: int) -> tuple[int, int, str | None, str | None, str | None]:
    """Rows, rows predicted, precision, recall and F1."""
    return true, predicted, percent(hit, predicted), percent(hit, true), percent(2 * hit, true + predicted)


def _rates_table(what: str, cells: Sequence[tuple[object, ...]], more: Sequence[str] = ()) -> str:
    at = 1 + len(more)
    ranked = sorted(cells, key=lambda row: (-row[at], str(row[0])))  # type: ignore[operator]
    caption = (
        f"{len(cells):,} in the test fold, most frequent first" + (f"; the first {_MANY}" if len(cells) > _MANY else "") + "."
    )
    return html_table([what, *more, "rows", "predicted", "precision", "recall", "F1"], ranked[:_MANY], caption=caption)


def _pooled(names: Sequence[str], matrix: Doubles) -> tuple[tuple[list[str], list[str], Doubles], bool]:
    """Names of rows and columns, and numbers; of many classes, the most frequent ones, and the others together."""
    k, unknown = len(names), [_UNKNOWN] * (len(matrix) > len(names))
    if k <= MOST:
        return ([*names, *unknown], [*names], matrix), False
    kept = np.sort(np.argsort(-(matrix[:k].sum(axis=1) + matrix.sum(axis=0)), kind="stable")[:MOST])
    place = np.full(k, MOST)
    place[kept] = np.arange(MOST)
    to = np.eye(MOST + 1)[place]  # (k, MOST + 1)
    known = to.T @ matrix[:k] @ to
    labels = [*(names[code] for code in kept), _OTHERS]
    return ([*labels, *unknown], labels, np.vstack([known, *([matrix[k:] @ to] if unknown else [])])), True
