"""The page's sections about a scoring: rows by outcome, the distribution of the scores, actions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keyfold.engine.columns import col, lit
from keyfold.engine.tables import Table
from keyfold.reporting.page import PageSection, html_table
from keyfold.reporting.sections import reconciliation_section, scores_section
from keyfold.scoring.outcomes import BINS, Outcomes

if TYPE_CHECKING:
    import numpy.typing as npt


def outcome_sections(predictions: Table, period: str, outcomes: Outcomes) -> list[PageSection]:
    """The counts for the page, and the distribution of scores, compared with the period before."""
    counts = {"read": outcomes.read, **outcomes.counts}
    quarantined_rows = outcomes.read - sum(outcomes.counts.values())
    counts |= {"set aside": quarantined_rows} if quarantined_rows else {}
    sections = [reconciliation_section(counts, outcomes.reasons, title="Rows scored", topic="predictions")]
    if outcomes.histogram is not None and outcomes.histogram.any():
        edges = np.linspace(0, 1, BINS + 1)
        sections.append(scores_section(edges, outcomes.histogram, _previous_histogram(predictions, period)))
    return sections


def _previous_histogram(predictions: Table, period: str) -> "tuple[str, npt.NDArray[np.int64]] | None":
    earlier = predictions.frame().where(col("period") < lit(period))
    last = earlier.group([], last=col("period").max()).rows()[0]["last"]
    if last is None:
        return None
    histogram = Outcomes.of(predictions, last, 0).histogram
    return (last, histogram) if histogram is not None and histogram.any() else None


def actions_section(cells: Sequence[Sequence[object]]) -> PageSection:
    """A row for each action: name, rule, keys, lowest probability, expected lift, file."""
    headers = ["action", "keys", "number", "lowest probability", "expected lift", "file"]
    caption = "Expected lift: the mean probability of the chosen keys, divided by that of all scored keys."
    return PageSection("Actions", html_table(headers, cells, caption=caption), "predictions")
