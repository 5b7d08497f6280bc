"""What is counted of the rows that were read, before any is written: by file, period and reason, and what is odd in them."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from keyfold.core.names import FILE, PERIOD, REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.errors import DataError
from keyfold.ingestion import casts, increments, similar_keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from keyfold.conf.data import Data
    from keyfold.runtime.run import Run


def exceeds_share(part: int, whole: int, share: float) -> bool:
    """Whether a part is more than a share, as the conf writes it: 29 of 100 are not more than 0.29."""
    return part > Fraction(str(share)) * whole


def count_rows(staged: "DataFrame", data: "Data") -> "list[Row]":
    """Rows by file, period and reason, and what is odd in them; refuses times of no zone."""
    kept = col(REASON).isNull()
    also = {
        "unusual": F.max(kept & similar_keys.may_be_denormalised(staged, data.key)),
    }
    also |= {name: F.sum(F.when(kept, col(name))) for name in (casts.SKIPPED, casts.TWICE) if name in staged.columns}
    also |= {name: F.min(F.when(kept, col(name))) for name in [casts.ZONELESS] if name in staged.columns}
    by = staged.groupBy(FILE, PERIOD, REASON).agg(F.count("*").alias("n"), *(v.alias(k) for k, v in also.items()))
    rows = by.collect()
    if zoneless := [said for r in rows if (said := r.asDict().get(casts.ZONELESS))]:
        raise DataError(
            f"{min(zoneless)} without an offset, and no zone is declared; set data.zone (such as Europe/Berlin), "
            "or give the column the type timestamp_ntz"
        )
    return rows


def row_notes(run: "Run", staged: "DataFrame", counted: "Sequence[Row]", plan: increments.IngestPlan) -> list[str]:
    """What is worth telling of the rows that are kept."""
    data = run.conf.data
    found = []
    if plan.memory.files:
        others = len(plan.others())
        found += [
            f"{len(plan.fresh):,} of {len(plan.now):,} files are new or changed"
            + (f"; {others:,} more were read again for period {', '.join(sorted(plan.again))}" if others else "")
        ]
    if plan.altered:
        some = ", ".join(sorted(plan.altered)[:5]) + (" …" if len(plan.altered) > 5 else "")
        found.append(
            f"others changed, or may have changed, the rows of period {some} in `{run.rows.name}`; they are again as the files say"
        )
    found += [f"`{name}` has changed since it was ingested, and was read again" for name in plan.changed if name]
    for name, what, became in _CLOCK:
        if n := sum(row.asDict().get(name) or 0 for row in counted):
            found.append(f"{n:,} times {what} in {data.zone}; {became}")
    if any(row.unusual for row in counted):
        found += similar_keys.similar_key_note(staged.where("keyfold_reason is null"), PERIOD, data.key)
    return found


_CLOCK = (
    (casts.SKIPPED, "do not exist", "they were moved forward by the width of the gap"),
    (casts.TWICE, "exist twice", "the earlier was taken"),
)


def kept_by_period(counted: "Sequence[Row]") -> dict[str, int]:
    """Rows that are kept, by period."""
    found: Counter[str] = Counter()
    for row in counted:
        if row.keyfold_reason is None:
            found[row[PERIOD]] += row.n
    return dict(found)


def quarantined_by_reason(counted: "Sequence[Row]") -> dict[str, int]:
    """Rows that are quarantined, by reason."""
    reasons: Counter[str] = Counter()
    for row in counted:
        if row.keyfold_reason is not None:
            reasons[row.keyfold_reason] += row.n
    return dict(reasons)
