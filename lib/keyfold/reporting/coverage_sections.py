"""The page's section about a model that may decline: accuracy against coverage."""

from collections.abc import Mapping, Sequence

from keyfold.evaluation.coverage import AtCoverage
from keyfold.evaluation.curves import Curve
from keyfold.reporting import charts
from keyfold.reporting.charts import figure_html
from keyfold.reporting.page import PageSection, html_table, side_by_side

NEUTRAL, PLAIN = "neutral class", "plain abstention"


def coverage_section(curves: Mapping[str, Curve], compared: Sequence[AtCoverage], *, truth: str, note: str = "") -> PageSection:
    """Accuracy against coverage of one or two models. curves: by the name of the model; compared: at its own coverage first.

    truth: what the true class of a neutral row is, for the caption. note: HTML.
    """
    name, *others = curves
    own = compared[0].coverage.value
    headings = ["answered", f"accuracy, {name}", *(f"accuracy, {other}" for other in others), *(["difference"] if others else [])]
    headings += [f"neutral among them, {one}" for one in curves]
    cells = [_cells(row, bool(others), "own" if not at else "") for at, row in enumerate(compared)]
    caption = (
        "Rows of the test fold that are answered: first those that the model answers, then shares of the rows, those with the most probable "
        f"answer first. {truth}"
    )
    if others:
        caption += " The difference compares both at the same share, on the same bootstrap draws."
    drawn = figure_html(
        lambda ax: charts.coverage_chart(ax, curves, own), caption="Accuracy of the answered rows by their share."
    )
    return PageSection("Coverage", side_by_side(html_table(headings, cells, caption=caption), drawn) + note, "curves")


def _cells(row: AtCoverage, paired: bool, own: str) -> list[object]:
    share: object = row.coverage if own else f"{row.coverage.value:.0%}"
    accuracies = [row.accuracy, *([row.plain_accuracy, row.gain] if paired else [])]
    return [share, *accuracies, row.neutral, *([row.plain_neutral] if paired else [])]
