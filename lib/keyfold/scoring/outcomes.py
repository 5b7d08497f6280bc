"""What the table of predictions holds of a period: counted for the conf's limit, the ledger and the page."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.errors import DataError
from keyfold.ingestion.row_counts import exceeds_share
from keyfold.reporting.sections import reconciliation_section, scores_section
from keyfold.scoring.key_check import KeyCheck

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.runtime.run import Run

BINS = 20


class Outcomes(NamedTuple):
    """Of `read` rows, how many have which status, why not, and how the probabilities are spread over [0, 1]."""

    read: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int] = {}
    heights: "npt.NDArray[np.int64] | None" = None
    mean: float = float("nan")
    period: str = ""
    too_many: bool = False

    @classmethod
    def of(cls, run: "Run", read: int, period: str) -> "Outcomes":
        """What is there now."""
        rows = run.predictions.read().where(col("period") == period)
        bins = F.when(col("probability").isNotNull(), F.floor(F.least(col("probability") * BINS, F.lit(BINS - 1.0))))
        found = rows.groupBy("status", "reason", bins.alias("bin")).agg(
            F.count("*").alias("n"), F.sum("probability").alias("sum")
        )
        counts, reasons, heights, total = Counter(scored=0, quarantined=0), Counter[str](), np.zeros(BINS, int), 0.0
        for row in found.collect():
            counts[row.status] += row.n
            if row.reason is not None:
                reasons[row.reason] += row.n
            if row.bin is not None:
                heights[int(row.bin)] += row.n
                total += row.sum
        many = exceeds_share(read - counts["scored"], read, run.conf.score.max_quarantine)
        return cls(read, counts, reasons, heights, total / max(1, heights.sum()), period, many)

    def check(self, run: "Run") -> None:
        """DataError where more rows are without a prediction than the conf allows."""
        why = reasons_text(self.reasons) or f"; see `{run.quarantine.name}`"
        refuse_above_limit(
            self.read - self.counts["scored"], self.read, run.conf.score.max_quarantine, "score", f"rows cannot be scored{why}"
        )

    def told(self, run: "Run") -> Mapping[str, int]:
        """The job's counts; on the page, too, with the scores of the period before, where there is one."""
        whole = {"read": self.read, **self.counts}
        aside = self.read - sum(self.counts.values())
        whole |= {"set aside": aside} if aside else {}
        run.sections.append(reconciliation_section(whole, self.reasons, title="Rows scored", topic="predictions"))
        if self.heights is not None and self.heights.any():
            former = _before(run, self.period)
            run.sections.append(scores_section(np.linspace(0, 1, BINS + 1), self.heights, former))
        return self.counts


def reasons_text(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons in brackets; empty where there are none."""
    why = "; ".join(f"{n:,} × {reason}" for reason, n in Counter(reasons).most_common(3))
    return f" ({why})" if why else ""


def refuse_above_limit(refused: int, of: int, most: float, section: str, what: str) -> None:
    """DataError where more than the share `most`, which is the section's max_quarantine, are refused; `what`: they cannot be."""
    if exceeds_share(refused, of, most):
        raise DataError(
            f"{refused:,} of {of:,} {what}. That is {refused / of:.1%}, and {section}.max_quarantine is {most:.1%}; "
            "the period is as it was"
        )


def committed_outcomes(run: "Run", run_id: str, period: str, found: KeyCheck) -> Outcomes | None:
    """What is there, where the period's own rows are as this run left them, one a key, and not too many are without a prediction."""
    as_left = run.predictions.holds(period, run_id, found.keys) and not run.predictions.changed_by_others("period", [period])
    there = Outcomes.of(run, found.read, period) if as_left else None
    return None if there is None or there.too_many else there


def _before(run: "Run", period: str) -> "tuple[str, npt.NDArray[np.int64]] | None":
    rows: DataFrame = run.predictions.read().where(col("period") < period)
    last = rows.select(F.max("period")).collect()[0][0]
    if last is None:
        return None
    former = Outcomes.of(run, 0, last).heights
    return (last, former) if former is not None and former.any() else None
