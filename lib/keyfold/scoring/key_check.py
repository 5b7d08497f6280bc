"""Splits the rows of a period into unique, duplicate and missing keys; rows without a unique key go to quarantine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core.names import REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine.key_counts import count_keys, is_complete
from keyfold.engine.spark_frame import SparkFrame
from keyfold.engine.table_versions import TableVersion
from keyfold.engine.tables import Table
from keyfold.runtime.quarantine import quarantine_rows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run

COPIES, LATEST = "keyfold_n", "keyfold_latest"


class KeyCheck(NamedTuple):
    """Result of a check of keys.

    `unique`: rows with a key of their own. `duplicates`: the duplicate keys that get no prediction, each with its number of rows (COPIES),
    None if there are none. `read` counts rows, `keys` counts keys, `refused` counts quarantined rows. `proof`, set if no row was refused,
    names the rows that were checked; a later run on the same rows skips the check.
    """

    unique: "DataFrame"
    duplicates: "DataFrame | None"
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

    kept: "DataFrame | None"
    refused: "DataFrame"
    quarantined: "DataFrame"


def check_keys(run: "Run", job: "Job", rows: "DataFrame", pinned: TableVersion, period: str) -> KeyCheck:
    """Checks the keys of a period's rows, unless this version of the table was checked before; quarantines rows without a unique key."""
    key = run.conf.data.key
    proof = [*pinned, period, key]
    if run.featured.unique(key, pinned.version) or _is_proven(run.predictions, proof):
        read = rows.count()
        return KeyCheck(rows, None, read, read, 0, proof)
    hashed = count_keys(SparkFrame(rows), key, rows.count())
    if hashed.unique and not hashed.missing:
        return KeyCheck(rows, None, hashed.rows, hashed.rows, 0, proof)
    by_key = _count_by_key(rows, key, run.conf.data.time)
    counts = _key_counts(by_key, key)
    if not counts.missing and not counts.duplicates:
        return KeyCheck(rows, None, counts.rows, counts.rows, 0, proof)
    return _quarantine(run, job.run_id, rows, by_key, counts)


def _is_proven(predictions: Table, proof: list[Any]) -> bool:
    return predictions.exists() and any(commit.metadata.get("proven") == proof for commit in predictions.commits())


def _count_by_key(rows: "DataFrame", key: Sequence[str], time: str | None) -> "DataFrame":
    latest = F.max(col(time)) if time else F.lit(None)
    return rows.groupBy(*map(col, key)).agg(F.count("*").alias(COPIES), latest.alias(LATEST))


def _key_counts(by_key: "DataFrame", key: Sequence[str]) -> KeyCounts:
    complete = is_complete(key)
    duplicate = complete & (col(COPIES) > 1)
    sums = [F.sum(COPIES), F.sum(F.when(~complete, col(COPIES))), F.count_if(duplicate), F.sum(F.when(duplicate, col(COPIES)))]
    return KeyCounts(*(count or 0 for count in by_key.agg(*sums).collect()[0]))


def _quarantine(run: "Run", run_id: str, rows: "DataFrame", by_key: "DataFrame", counts: KeyCounts) -> KeyCheck:
    key, complete = run.conf.data.key, is_complete(run.conf.data.key)
    keyed, duplicates = rows.where(complete), by_key.where(complete & (col(COPIES) > 1)).persist()
    resolved = _resolve_duplicates(run, keyed, duplicates) if counts.duplicates else None
    kept = resolved.kept.count() if resolved and resolved.kept else 0
    refused = counts.missing + counts.copies - kept
    quarantined = rows.where(~complete).withColumn(REASON, _text("the key is NULL"))
    whole = quarantined.unionByName(resolved.quarantined) if resolved else quarantined
    quarantine_rows(run, run_id, SparkFrame(whole), refused)
    run.say(
        f"{refused:,} rows went to `{run.quarantine.name}`: {counts.missing:,} without a key, "
        f"{counts.copies - kept:,} of {counts.duplicates:,} repeated keys"
    )
    unique = keyed.join(duplicates, key, "left_anti") if resolved else keyed
    unique = unique.unionByName(resolved.kept) if resolved and resolved.kept else unique
    keys = counts.rows - counts.missing - counts.copies + counts.duplicates
    return KeyCheck(unique, resolved.refused if resolved else None, counts.rows, keys, refused)


def _resolve_duplicates(run: "Run", keyed: "DataFrame", duplicates: "DataFrame") -> DuplicateKeys:
    """With `score.keep: latest` the single latest row of a key is kept; else no row is."""
    key, time = run.conf.data.key, run.conf.data.time
    copies, keys = keyed.join(duplicates.drop(COPIES), key), duplicates.drop(LATEST)
    reason = _text("the key occurs more than once in the period")
    if run.conf.score.keep != "latest":
        return DuplicateKeys(None, keys, copies.drop(LATEST).withColumn(REASON, reason))
    latest = copies.where(col(str(time)) == col(LATEST)).drop(LATEST)
    single = latest.groupBy(*map(col, key)).count().where("count = 1").drop("count").persist()
    others = copies.join(single, key, "left_anti").unionByName(
        copies.join(single, key, "left_semi").where(~col(str(time)).eqNullSafe(col(LATEST)))
    )
    kept = latest.join(single, key, "left_semi")
    return DuplicateKeys(kept, keys.join(single, key, "left_anti"), others.drop(LATEST).withColumn(REASON, reason))


def _text(text: str) -> "Column":
    return F.lit(text)
