"""Splits the rows of a period into unique, duplicate and missing keys; rows without a unique key go to quarantine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw

from keyfold.core.names import REASON
from keyfold.engine.columns import col, count_rows, lit, when
from keyfold.engine.frame import Frame
from keyfold.engine.key_counts import count_keys, is_complete
from keyfold.engine.table_versions import TableVersion
from keyfold.engine.tables import Table
from keyfold.runtime.quarantine import quarantine_rows

if TYPE_CHECKING:
    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run

COPIES, LATEST = "keyfold_n", "keyfold_latest"


class KeyCheck(NamedTuple):
    """Result of a check of keys.

    `unique`: rows with a key of their own. `duplicates`: the duplicate keys that get no prediction, each with its number of rows (COPIES),
    None if there are none. `read` counts rows, `keys` counts keys, `refused` counts quarantined rows. `proof`, set if no row was refused,
    names the rows that were checked; a later run on the same rows skips the check.
    """

    unique: Frame
    duplicates: Frame | None
    read: int
    keys: int
    refused: int
    proof: list[Any] | None = None


class KeyCounts(NamedTuple):
    """Numbers of rows, of rows without a key, of duplicate keys, and of rows with a duplicate key."""

    rows: int
    missing: int
    duplicates: int
    copies: int


class DuplicateKeys(NamedTuple):
    """Rows of duplicate keys: `kept` are scored (None: no row), `refused` are keys without a row to score, `quarantined` the other rows."""

    kept: Frame | None
    refused: Frame
    quarantined: Frame


def check_keys(run: "Run", job: "Job", rows: Frame, pinned: TableVersion, period: str) -> KeyCheck:
    """Checks the keys of a period's rows, unless this version of the table was checked before; quarantines rows without a unique key."""
    key = run.conf.data.key
    proof = [*pinned, period, key]
    if run.featured.unique(key, pinned.version) or _is_proven(run.predictions, proof):
        read = rows.count()
        return KeyCheck(rows, None, read, read, 0, proof)
    hashed = count_keys(rows, key, rows.count())
    if hashed.unique and not hashed.missing:
        return KeyCheck(rows, None, hashed.rows, hashed.rows, 0, proof)
    by_key = _count_by_key(rows, key, run.conf.data.time)
    counts = _key_counts(by_key, key)
    if not counts.missing and not counts.duplicates:
        return KeyCheck(rows, None, counts.rows, counts.rows, 0, proof)
    return _quarantine(run, job.run_id, rows, by_key, counts)


def _is_proven(predictions: Table, proof: list[Any]) -> bool:
    return predictions.exists() and any(commit.metadata.get("proven") == proof for commit in predictions.commits())


def _count_by_key(rows: Frame, key: Sequence[str], time: str | None) -> Frame:
    return rows.group(key, **{COPIES: count_rows()} | ({LATEST: col(time).max()} if time else {}))


def _key_counts(by_key: Frame, key: Sequence[str]) -> KeyCounts:
    complete = is_complete(key)
    duplicate = complete & (col(COPIES) > 1)
    n = {"rows": col(COPIES), "missing": when(~complete).then(col(COPIES)), "copies": when(duplicate).then(col(COPIES))}
    numbers = n | {"duplicates": duplicate.cast(nw.Int64)}
    sums = by_key.with_columns(numbers).group([], **{name: col(name).sum() for name in numbers}).rows()[0]
    return KeyCounts(**{name: sums[name] or 0 for name in numbers})


def _quarantine(run: "Run", run_id: str, rows: Frame, by_key: Frame, counts: KeyCounts) -> KeyCheck:
    key, complete = run.conf.data.key, is_complete(run.conf.data.key)
    keyed, duplicates = rows.where(complete), by_key.where(complete & (col(COPIES) > 1)).persist()
    resolved = _resolve_duplicates(run, keyed, duplicates) if counts.duplicates else None
    kept = resolved.kept.count() if resolved and resolved.kept else 0
    refused = counts.missing + counts.copies - kept
    quarantined = rows.where(~complete).with_columns({REASON: lit("the key is NULL")})
    quarantine_rows(run, run_id, quarantined.union(resolved.quarantined) if resolved else quarantined, refused)
    run.say(
        f"{refused:,} rows went to `{run.quarantine.name}`: {counts.missing:,} without a key, "
        f"{counts.copies - kept:,} of {counts.duplicates:,} repeated keys"
    )
    unique = keyed.join(duplicates, key, "anti") if resolved else keyed
    unique = unique.union(resolved.kept) if resolved and resolved.kept else unique
    keys = counts.rows - counts.missing - counts.copies + counts.duplicates
    return KeyCheck(unique, resolved.refused if resolved else None, counts.rows, keys, refused)


def _resolve_duplicates(run: "Run", keyed: Frame, duplicates: Frame) -> DuplicateKeys:
    """With `score.keep: latest` the single latest row of a key is kept; else no row is."""
    key, time = run.conf.data.key, run.conf.data.time
    copies, keys = keyed.join(duplicates.drop(COPIES), key), duplicates.drop(LATEST)
    reason = {REASON: lit("the key occurs more than once in the period")}
    if run.conf.score.keep != "latest":
        return DuplicateKeys(None, keys, copies.drop(LATEST).with_columns(reason))
    at, last = col(str(time)), col(LATEST)
    latest = copies.where(at == last).drop(LATEST)
    single = latest.group(key, **{COPIES: count_rows()}).where(col(COPIES) == 1).select(key).persist()
    earlier = copies.join(single, key, "semi").where(at.is_null() | (at != last))
    others = copies.join(single, key, "anti").union(earlier).drop(LATEST).with_columns(reason)
    return DuplicateKeys(latest.join(single, key, "semi"), keys.join(single, key, "anti"), others)
