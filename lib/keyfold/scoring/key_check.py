"""The keys that are due an answer: those with a row of their own; repeated ones; rows without a key, which are put aside."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core.names import REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine.table_versions import TableVersion
from keyfold.runtime.quarantine import quarantine_rows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from keyfold.runtime.run import Job, Run

COPIES, LATEST = "keyfold_n", "keyfold_latest"


class KeyCheck(NamedTuple):
    """`sound` rows have a key of their own; of a `repeated` key there is the key alone, and how often it stands (N).

    `proof` says what was looked at and found to be sound, so that a later run on the same rows need not look.
    """

    sound: "DataFrame"
    repeated: "DataFrame | None"
    read: int
    keys: int
    refused: int
    proof: list[Any] | None = None


class DuplicateKeys(NamedTuple):
    """Rows of repeated keys: which to score, which keys have none to score, which rows go aside."""

    kept: "DataFrame | None"
    refused: "DataFrame"
    aside: "DataFrame"


def check_keys(run: "Run", job: "Job", rows: "DataFrame", pinned: TableVersion, period: str) -> KeyCheck:
    """Looks at the keys of a period's rows, unless that was done for this version of them."""
    key = run.conf.data.key
    proof = [*pinned, period, key]
    if run.featured.unique(key, pinned.version) or _proven(run, proof):
        read = rows.count()
        return KeyCheck(rows, None, read, read, 0, proof)
    there = _all_there(key)
    counted = _counted(run, rows)
    twice = there & (col(COPIES) > 1)
    sums = [F.sum(COPIES), F.sum(F.when(~there, col(COPIES))), F.count_if(twice), F.sum(F.when(twice, col(COPIES)))]
    read, without, bad, copies = (n or 0 for n in counted.agg(*sums).collect()[0])
    if not without and not bad:
        return KeyCheck(rows, None, read, read, 0, proof)
    named, repeated = rows.where(there), counted.where(twice).persist()
    found = _sorted_out(run, named, repeated) if bad else None
    kept = found.kept.count() if found and found.kept else 0
    aside = rows.where(~there).withColumn(REASON, _text("the key is NULL"))
    quarantine_rows(run, job.run_id, aside.unionByName(found.aside) if found else aside, without + copies - kept)
    run.say(
        f"{without + copies - kept:,} rows went to `{run.quarantine.name}`: {without:,} without a key, "
        f"{copies - kept:,} of {bad:,} repeated keys"
    )
    alone = named.join(repeated, key, "left_anti") if bad else named
    sound = alone.unionByName(found.kept) if found and found.kept else alone
    return KeyCheck(sound, found.refused if found else None, read, read - without - copies + bad, without + copies - kept)


def _proven(run: "Run", proof: list[Any]) -> bool:
    there = run.predictions.exists()
    return there and any(commit.metadata.get("proven") == proof for commit in run.predictions.commits())


def _counted(run: "Run", rows: "DataFrame") -> "DataFrame":
    time = run.conf.data.time
    latest = F.max(col(time)) if time else F.lit(None)
    return rows.groupBy(*map(col, run.conf.data.key)).agg(F.count("*").alias(COPIES), latest.alias(LATEST))


def _sorted_out(run: "Run", named: "DataFrame", repeated: "DataFrame") -> DuplicateKeys:
    key, time = run.conf.data.key, run.conf.data.time
    copies, keys = named.join(repeated.drop(COPIES), key), repeated.drop(LATEST)
    said = _text("the key stands more than once in the period")
    if run.conf.score.keep != "latest":
        return DuplicateKeys(None, keys, copies.drop(LATEST).withColumn(REASON, said))
    last = copies.where(col(str(time)) == col(LATEST)).drop(LATEST)
    single = last.groupBy(*map(col, key)).count().where("count = 1").drop("count").persist()
    older = copies.join(single, key, "left_anti").unionByName(
        copies.join(single, key, "left_semi").where(~col(str(time)).eqNullSafe(col(LATEST)))
    )
    kept = last.join(single, key, "left_semi")
    return DuplicateKeys(kept, keys.join(single, key, "left_anti"), older.drop(LATEST).withColumn(REASON, said))


def _text(said: str) -> "Column":
    return F.lit(said)


def _all_there(key: Sequence[str]) -> "Column":
    there = col(key[0]).isNotNull()
    for name in key[1:]:
        there = there & col(name).isNotNull()
    return there
