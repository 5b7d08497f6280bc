"""Adds ledger rows for jobs that were killed between their commit and their row, from the metadata of the commits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keyfold.core.names import PERIOD
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.commits import Commit
from keyfold.engine.tables import Table
from keyfold.errors import DataError
from keyfold.runtime.ledger import LEDGER, append_rows

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

_PERIOD_COLUMN = {"ingest": PERIOD, "score": "period", "images": "period"}


def rebuild_ledger(run: "Run") -> None:
    """Adds a row for each commit of the conf's tables that the ledger does not have; commits that were rolled back are left out."""
    with run.job("ledger") as job:
        job.run_id = run.identity("ledger")
        ledger = run.table(LEDGER)
        known = _recorded_runs(ledger)
        rows = []
        for table in (run.rows, run.predictions, run.images):
            for commit in _standing_commits(table):
                name = (commit.metadata["job"], commit.metadata["run_id"])
                if name not in known:
                    known.add(name)
                    rows.append(_row(run.conf.name, table, commit))
        append_rows(ledger, rows)
        job.counts = {"kept": len(rows)}
        run.say(f"{len(rows):,} committed runs were missing in `{ledger.name}`" + (" and have been added" if rows else ""))


def _recorded_runs(ledger: Table) -> set[tuple[str, str]]:
    if not ledger.exists():
        return set()
    rows = ledger.frame().where(col("status") == lit("committed")).select(["job", "run_id"]).rows()
    return {(row["job"], row["run_id"]) for row in rows}


def _standing_commits(table: Table) -> Iterator[Commit]:
    """The jobs' commits, newest first, without those that were rolled back."""
    put_back = set()
    for commit in table.commits() if table.exists() else ():
        metadata = commit.metadata
        put_back.add(metadata.get("put_back"))
        if metadata.get("job") in _PERIOD_COLUMN and metadata["run_id"] not in put_back:
            yield commit


def _row(name: str, table: Table, commit: Commit) -> dict[str, Any]:
    """The ledger row from a commit's metadata; the conf's digest, the inputs and the time are unknown."""
    metadata = commit.metadata
    counts = metadata.get("counts", {})
    by_status = _by_status(table, commit) if metadata["job"] != "ingest" else {}
    return {
        "job": metadata["job"],
        "name": name,
        "run_id": metadata["run_id"],
        "period": ",".join(sorted(metadata[_PERIOD_COLUMN[metadata["job"]]])),
        "rows_read": counts.get("read"),
        "rows_kept": counts.get("kept"),
        "rows_scored": by_status.get("scored", by_status.get("made")),
        "rows_quarantined": counts.get("quarantined", by_status.get("quarantined")),
        "steps": {},
        "status": "committed",
        "message": "rebuilt from the history",
        "started_at": commit.at,
    }


def _by_status(table: Table, commit: Commit) -> dict[str, int]:
    try:
        rows = table.frame(commit.version).where(col("run_id") == lit(commit.metadata["run_id"]))
        return {row["status"]: row["n"] for row in rows.group(["status"], n=count_rows()).rows()}
    except DataError:  # VACUUM has removed the version
        return {}
