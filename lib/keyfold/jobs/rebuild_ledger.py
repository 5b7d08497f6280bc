"""The ledger's rows of jobs that committed, and were killed before they could write theirs: rebuilt from what is known of the tables' commits."""

from typing import TYPE_CHECKING, Any

from keyfold.core.names import PERIOD
from keyfold.core.sql import col
from keyfold.engine.commits import Commit
from keyfold.engine.tables import Table
from keyfold.errors import DataError
from keyfold.runtime.run import LEDGER, LEDGER_COLUMNS

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

_BY = {"ingest": PERIOD, "score": "period", "images": "period"}


def rebuild_ledger(run: "Run") -> None:
    """Adds what the tables of a conf know of their commits and the ledger does not."""
    with run.job("ledger") as job:
        job.run_id = run.identity("ledger")
        ledger = run.table(LEDGER)
        known = set()
        if ledger.exists():
            committed = ledger.read().where("status = 'committed'").select("job", "run_id").collect()
            known = {(row["job"], row["run_id"]) for row in committed}
        rows = []
        for table in (run.rows, run.predictions, run.images):
            put_back = set()
            for commit in table.commits() if table.exists() else ():  # newest first
                told = commit.metadata
                put_back |= {told.get("put_back")}
                if told.get("job") in _BY and told["run_id"] not in put_back and (told["job"], told["run_id"]) not in known:
                    known.add((told["job"], told["run_id"]))
                    rows.append(_row(run, table, commit))
        if rows:
            ledger.append(run.spark.createDataFrame(rows, LEDGER_COLUMNS).coalesce(1), job="ledger")
        job.counts = {"kept": len(rows)}
        run.say(f"{len(rows):,} committed runs were missing in `{ledger.name}`" + (", and are there now" if rows else ""))


def _row(run: "Run", table: Table, commit: Commit) -> tuple[Any, ...]:
    told = commit.metadata
    counts = told.get("counts", {})
    by_status = _by_status(table, commit) if told["job"] != "ingest" else {}
    period = ",".join(sorted(told[_BY[told["job"]]]))
    scored = by_status.get("scored", by_status.get("made"))
    quarantined = counts.get("quarantined", by_status.get("quarantined"))
    return (
        told["job"], run.conf.name, told["run_id"], None, period, None, counts.get("read"), counts.get("kept"), scored, quarantined,
        None, {}, None, "committed", "rebuilt from the history", commit.at,
    )  # fmt: skip


def _by_status(table: Table, commit: Commit) -> dict[str, int]:
    try:
        rows = table.read(commit.version).where(col("run_id") == commit.metadata["run_id"])
        return {row["status"]: row["count"] for row in rows.groupBy("status").count().collect()}
    except DataError:  # vacuumed since
        return {}
