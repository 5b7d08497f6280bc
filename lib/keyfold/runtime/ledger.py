"""The ledger, a table with a row for each attempted job: its columns and how a job fills them.

A new column is an entry of `COLUMNS` and a value in `row_of`. `keyfold.jobs.rebuild_ledger` fills the columns that commit metadata holds.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyfold.errors import PromiseError
from keyfold.secrets import redacted

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.engine.tables import Table
    from keyfold.runtime.account import Job

LEDGER = "keyfold.runs"
COLUMNS = {
    "job": "string", "name": "string", "run_id": "string", "conf_digest": "string", "period": "string", "input_versions": "string",
    "rows_read": "bigint", "rows_kept": "bigint", "rows_scored": "bigint", "rows_quarantined": "bigint",
    "seconds": "double", "steps": "map<string,double>", "core_hours": "double",
    "status": "string", "message": "string", "started_at": "timestamp",
}  # fmt: skip


def row_of(job: "Job", conf: "Conf", period: str | None, tasks: int) -> dict[str, Any]:
    """The row of a job, by column; `tasks`: the number of parallel tasks."""
    seconds = sum((step.seconds for step in job.steps), 0.0)
    return {
        "job": job.name,
        "name": conf.name,
        "run_id": job.run_id,
        "conf_digest": conf.digest,
        "period": period,
        "input_versions": redacted(json.dumps(job.inputs, sort_keys=True)),
        **{f"rows_{name}": job.counts.get(name) for name in ("read", "kept", "scored", "quarantined")},
        "seconds": seconds,
        "steps": {step.name: step.seconds for step in job.steps},
        "core_hours": seconds * tasks / 3600,
        "status": job.status,
        "message": job.message,
        "started_at": job.started,
    }


def append_rows(ledger: "Table", rows: Sequence[Mapping[str, Any]]) -> None:
    """Appends rows in one commit; columns that a row lacks are NULL (PromiseError for a column that the ledger does not have)."""
    if not rows:
        return
    if unknown := {name for row in rows for name in row} - COLUMNS.keys():
        raise PromiseError(f"the ledger has no column {', '.join(sorted(unknown))}")
    schema = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    frame = ledger.engine.rows([tuple(row.get(name) for name in COLUMNS) for row in rows], schema)
    ledger.append(frame, job="ledger")
