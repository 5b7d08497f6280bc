"""Row counts by file, period and reason, taken before the write, and notes on rows that are kept."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from keyfold.core.names import CONTENT, FILE, PERIOD, REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.errors import DataError
from keyfold.ingestion import similar_keys
from keyfold.readers.casts import SKIPPED, TWICE, ZONELESS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from keyfold.conf.data import Data
    from keyfold.ingestion.increments import IngestPlan
    from keyfold.ingestion.staging import StagedRows

_CLOCK_NOTES = (
    (SKIPPED, "do not exist", "they were moved forward by the width of the gap"),
    (TWICE, "exist twice", "the earlier was taken"),
)


def exceeds_share(part: int, whole: int, share: float) -> bool:
    """Whether a part is more than a share, compared as decimals: 29 of 100 is not more than 0.29."""
    return part > Fraction(str(share)) * whole


def count_rows(staged: "DataFrame", data: "Data") -> "list[Row]":
    """Rows `n` by file, period and reason (DataError for a time without an offset and without data.zone)."""
    kept = col(REASON).isNull()
    counts = {"n": F.count("*"), "unusual": F.max(kept & similar_keys.may_be_denormalised(staged, data.key))}
    counts |= {name: F.sum(F.when(kept, col(name))) for name in (SKIPPED, TWICE) if name in staged.columns}
    counts |= {name: F.min(F.when(kept, col(name))) for name in [ZONELESS] if name in staged.columns}
    counted = staged.groupBy(FILE, PERIOD, REASON).agg(*(count.alias(name) for name, count in counts.items())).collect()
    if zoneless := [example for row in counted if (example := row.asDict().get(ZONELESS))]:
        raise DataError(
            f"{min(zoneless)} without an offset, and no zone is declared; set data.zone (such as Europe/Berlin), "
            "or give the column the type timestamp_ntz"
        )
    return counted


def kept_by_period(counted: "Sequence[Row]") -> dict[str, int]:
    """Number of rows that are kept, by period."""
    kept: Counter[str] = Counter()
    for row in counted:
        if row[REASON] is None:
            kept[row[PERIOD]] += row.n
    return dict(kept)


def quarantined_by_reason(counted: "Sequence[Row]") -> dict[str, int]:
    """Number of rows that are quarantined, by reason."""
    reasons: Counter[str] = Counter()
    for row in counted:
        if row[REASON] is not None:
            reasons[row[REASON]] += row.n
    return dict(reasons)


def first_periods(periods: Iterable[str]) -> str:
    """The first five periods, as text."""
    ordered = sorted(periods)
    return ", ".join(ordered[:5]) + (" …" if len(ordered) > 5 else "")


def row_notes(data: "Data", table: str, staged: "StagedRows", counted: "Sequence[Row]", plan: "IngestPlan") -> list[str]:
    """Sentences about the files that were read and about kept rows with unusual values."""
    notes = _file_notes(table, plan)
    if data.key == [CONTENT] and not staged.content_key:
        notes.append(
            f"data.key: the source has a column `{CONTENT}` of its own, which is used as the key in place of a digest of the row"
        )
    for name, what, became in _CLOCK_NOTES:
        if n := sum(row.asDict().get(name) or 0 for row in counted):
            notes.append(f"{n:,} times {what} in {data.zone}; {became}")
    if any(row.unusual for row in counted):
        notes += similar_keys.similar_key_note(staged.rows.where(col(REASON).isNull()), PERIOD, data.key)
    return notes


def _file_notes(table: str, plan: "IngestPlan") -> list[str]:
    notes = []
    if plan.memory.files:
        others = len(plan.others())
        again = f"; {others:,} more were read again for period {', '.join(sorted(plan.again))}" if others else ""
        notes.append(f"{len(plan.fresh):,} of {len(plan.now):,} files are new or changed{again}")
    if plan.altered:
        notes.append(
            f"rows of period {first_periods(plan.altered)} in `{table}` were changed, or may have been changed, by others; "
            "they were replaced by those of the files"
        )
    return notes + [f"`{name}` has changed since it was ingested, and was read again" for name in plan.changed if name]
