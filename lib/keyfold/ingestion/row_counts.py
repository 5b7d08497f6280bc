"""Row counts by file, period and reason, taken before the write, and notes on rows that are kept."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import narwhals as nw

from keyfold.core.names import CONTENT, FILE, PERIOD, REASON
from keyfold.engine.columns import col, count_rows, when
from keyfold.engine.frame import Frame
from keyfold.errors import DataError
from keyfold.ingestion import similar_keys
from keyfold.readers.casts import SKIPPED, TWICE, ZONELESS

if TYPE_CHECKING:
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


Counted = Sequence[dict[str, Any]]


def count_staged(staged: Frame, data: "Data") -> Counted:
    """Rows `n` by file, period and reason (DataError for a time without an offset and without data.zone)."""
    marked = staged.compute(similar_keys.may_be_denormalised(staged.types, data.key))
    kept = when(col(REASON).is_null())
    counts = {"n": count_rows(), similar_keys.UNUSUAL: kept.then(col(similar_keys.UNUSUAL).cast(nw.Int32)).max()}
    counts |= {name: kept.then(col(name)).sum() for name in (SKIPPED, TWICE) if name in staged.columns}
    counts |= {name: kept.then(col(name)).min() for name in [ZONELESS] if name in staged.columns}
    counted = marked.group([FILE, PERIOD, REASON], **counts).rows()
    if zoneless := [example for row in counted if (example := row.get(ZONELESS))]:
        raise DataError(
            f"{min(zoneless)} without an offset, and no zone is declared; set data.zone (such as Europe/Berlin), "
            "or give the column the type timestamp_ntz"
        )
    return counted


def kept_by_period(counted: Counted) -> dict[str, int]:
    """Number of rows that are kept, by period."""
    kept: Counter[str] = Counter()
    for row in counted:
        if row[REASON] is None:
            kept[row[PERIOD]] += row["n"]
    return dict(kept)


def quarantined_by_reason(counted: Counted) -> dict[str, int]:
    """Number of rows that are quarantined, by reason."""
    reasons: Counter[str] = Counter()
    for row in counted:
        if row[REASON] is not None:
            reasons[row[REASON]] += row["n"]
    return dict(reasons)


def first_periods(periods: Iterable[str]) -> str:
    """The first five periods, as text."""
    ordered = sorted(periods)
    return ", ".join(ordered[:5]) + (" …" if len(ordered) > 5 else "")


def row_notes(data: "Data", table: str, staged: "StagedRows", counted: Counted, plan: "IngestPlan") -> list[str]:
    """Sentences about the files that were read and about kept rows with unusual values."""
    notes = _file_notes(table, plan)
    if data.key == [CONTENT] and not staged.content_key:
        notes.append(
            f"data.key: the source has a column `{CONTENT}` of its own, which is used as the key in place of a digest of the row"
        )
    for name, what, became in _CLOCK_NOTES:
        if n := sum(row.get(name) or 0 for row in counted):
            notes.append(f"{n:,} times {what} in {data.zone}; {became}")
    if any(row[similar_keys.UNUSUAL] for row in counted):
        notes += similar_keys.similar_key_note(staged.rows.where(col(REASON).is_null()), data.key)
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
