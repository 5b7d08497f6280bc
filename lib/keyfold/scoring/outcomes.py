"""Counts the predictions of a period: for the conf's limit, the ledger and the page."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine.tables import Table
from keyfold.errors import DataError
from keyfold.ingestion.row_counts import exceeds_share

if TYPE_CHECKING:
    pass

BINS = 20


class Outcomes(NamedTuple):
    """Of `read` rows, the numbers by status and by reason, and the histogram over [0, 1] and the mean of their probabilities."""

    read: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int] = {}
    histogram: "npt.NDArray[np.int64] | None" = None
    mean: float = float("nan")

    @classmethod
    def of(cls, predictions: Table, period: str, read: int) -> "Outcomes":
        """Counts the rows of a period that the table has now."""
        rows = predictions.read().where(col("period") == period)
        bins = F.when(col("probability").isNotNull(), F.floor(F.least(col("probability") * BINS, F.lit(BINS - 1.0))))
        groups = rows.groupBy("status", "reason", bins.alias("bin"))
        counts, reasons = Counter(scored=0, quarantined=0), Counter[str]()
        histogram, total = np.zeros(BINS, int), 0.0
        for group in groups.agg(F.count("*").alias("n"), F.sum("probability").alias("sum")).collect():
            counts[group.status] += group.n
            if group.reason is not None:
                reasons[group.reason] += group.n
            if group.bin is not None:
                histogram[int(group.bin)] += group.n
                total += group.sum
        return cls(read, counts, reasons, histogram, total / max(1, histogram.sum()))

    @property
    def unscored(self) -> int:
        """Rows without a prediction, those in quarantine included."""
        return self.read - self.counts["scored"]

    def check(self, limit: float, quarantine: str) -> None:
        """DataError if the share of rows without a prediction exceeds score.max_quarantine; `quarantine` names the table to look at."""
        why = reasons_text(self.reasons) or f"; see `{quarantine}`"
        refuse_above_limit(self.unscored, self.read, limit, "score", f"rows cannot be scored{why}")


def committed_outcomes(predictions: Table, run_id: str, period: str, keys: int, read: int, limit: float) -> Outcomes | None:
    """The outcomes that a run committed; None unless the period is unchanged since that run, has one row per key, and is within the limit."""
    if not predictions.holds(period, run_id, keys) or predictions.changed_by_others("period", [period]):
        return None
    outcomes = Outcomes.of(predictions, period, read)
    return None if exceeds_share(outcomes.unscored, read, limit) else outcomes


def reasons_text(reasons: Mapping[str, int]) -> str:
    """The three most frequent reasons in brackets; empty if there are none."""
    text = "; ".join(f"{n:,} × {reason}" for reason, n in Counter(reasons).most_common(3))
    return f" ({text})" if text else ""


def refuse_above_limit(refused: int, total: int, limit: float, section: str, what: str) -> None:
    """DataError if refused/total exceeds the section's max_quarantine; `what` completes the sentence: "rows cannot be scored"."""
    if exceeds_share(refused, total, limit):
        raise DataError(
            f"{refused:,} of {total:,} {what}. That is {refused / total:.1%}, and {section}.max_quarantine is {limit:.1%}; "
            "the period has not changed"
        )
