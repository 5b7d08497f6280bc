"""Counts the predictions of a period: for the conf's limit, the ledger and the page."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.frame import Computed
from keyfold.engine.tables import Table
from keyfold.errors import DataError
from keyfold.ingestion.row_counts import exceeds_share

BINS = 20
_HALF = 2.0**31


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
        # A kernel gets all columns, and maps of probabilities take long to read.
        period_rows = predictions.frame().where(col("period") == lit(period)).select(["status", "reason", "probability"])
        rows = period_rows.compute(_PARTS, ["status", "reason"])
        groups = rows.group(["status", "reason", "bin"], n=count_rows(), high=col("high").sum(), low=col("low").sum())
        counts, reasons = Counter(scored=0, quarantined=0), Counter[str]()
        histogram, total = np.zeros(BINS, int), Fraction(0)
        for group in groups.rows():
            counts[group["status"]] += group["n"]
            if group["reason"] is not None:
                reasons[group["reason"]] += group["n"]
            if group["bin"] is not None:
                histogram[group["bin"]] += group["n"]
                total += (group["high"] + Fraction(group["low"], int(_HALF))) / int(_HALF)
        return cls(read, counts, reasons, histogram, float(total / max(1, int(histogram.sum()))))

    @property
    def unscored(self) -> int:
        """Rows without a prediction, those in quarantine included."""
        return self.read - self.counts["scored"]

    def check(self, limit: float, quarantine: str) -> None:
        """DataError if the share of rows without a prediction exceeds score.max_quarantine; `quarantine` names the table to look at."""
        why = reasons_text(self.reasons) or f"; see `{quarantine}`"
        refuse_above_limit(self.unscored, self.read, limit, "score", f"rows cannot be scored{why}")


def _parts_of(batch: pa.RecordBatch) -> list[pa.Array]:
    missing = batch["probability"].is_null().to_numpy(zero_copy_only=False)
    probability = batch["probability"].fill_null(0).to_numpy(zero_copy_only=False)
    probability = np.minimum(np.maximum(np.where(np.isnan(probability), 1, probability), 0), 1)
    scaled = probability * _HALF
    parts = np.minimum(probability * BINS, BINS - 1), scaled, (scaled - np.floor(scaled)) * _HALF
    return [pa.array(np.floor(part).astype(np.int64), mask=missing) for part in parts]


def _parts() -> Computed:
    """The bin of a probability, and two integers whose sums, unlike those of doubles, depend on no order: its first 31 bits, the next 31."""
    # The probabilities of models of other origin may be outside [0, 1].
    scaled = f"greatest(least(probability, 1D), 0D) * {_HALF:.0f}D"
    numbers = (
        f"least(greatest(least(probability, 1D), 0D) * {BINS}D, {BINS - 1}D)",
        scaled,
        f"({scaled} - floor({scaled})) * {_HALF:.0f}D",
    )
    expressions = [f"IF(probability IS NULL, NULL, floor({number}))" for number in numbers]
    return Computed(dict.fromkeys(("bin", "high", "low"), pa.int64()), _parts_of, expressions)


_PARTS = _parts()


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
