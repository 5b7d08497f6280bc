"""Ingests raw rows into a Delta table by period. Rows that cannot be kept go to quarantine: read = kept + quarantined."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keyfold.core.digests import digest
from keyfold.core.names import LAYOUT, PERIOD, REASON, RUN
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.frame import Frame, persisting
from keyfold.engine.store import odd_column_names
from keyfold.errors import ConfError, DataError
from keyfold.ingestion import quarantine, row_counts, source_files
from keyfold.ingestion.increments import IngestPlan, counts_by_file, ingest_commits, plan_ingest
from keyfold.ingestion.page_sections import rows_sections
from keyfold.ingestion.staging import Persist, stage_rows
from keyfold.readers import paths
from keyfold.runtime.quarantine import data_columns

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.engine.tables import Table
    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run


def ingest(run: "Run") -> None:
    """Ingests the new and changed files of the source; does nothing if there are none (ConfError, DataError, PromiseError)."""
    data = run.conf.data
    if data.source is None and not data.versions:
        raise ConfError(f"data.source is not set: nothing to ingest, and there is no table `{run.rows.name}`")
    with run.job("ingest") as job:
        run.rows.claim()
        if isinstance(data.source, str):
            paths.require_files(data.source)
        options = source_files.reading_options(run.conf)
        files = source_files.current_files(run.engine, data)
        stamps = source_files.file_stamps(files)
        plan = plan_ingest(files, run.rows, digest(options), source_files.source_digest(data))
        pinned = {name: file["digest"] for name, file in plan.now.items()}
        job.inputs = {"files": pinned} if isinstance(data.source, str | None) else {"generator": options["source"]}
        job.run_id = run.identity("ingest", files=sorted(pinned.values()), after=plan.memory.run_id, again=sorted(plan.again))
        with persisting() as persist:
            commit = _ingested_before(run, job, plan) if plan.done else _ingest(run, job, plan, stamps, digest(options), persist)
        run.rows.keep_for(data.retention)
        job.sections += rows_sections(job.counts, commit)


def undo(run: "Run") -> None:
    """Restores the rows that the newest ingest replaced; the next ingest reads the same files again (DataError)."""
    with run.job("undo") as job:
        run.rows.claim()
        commits = ingest_commits(run.rows.log()) if run.rows.exists() else []
        if not commits:
            raise DataError(f"table `{run.rows.name}` has no ingest to undo")
        last = commits[0]
        job.run_id = str(last.metadata["run_id"])
        with run.step("undo") as step:
            restored = run.rows.undo(last, PERIOD)
            step.rows = max(restored.rows, 0)
        job.counts = {"kept": max(restored.rows, 0)}
        periods = row_counts.first_periods(last.metadata[PERIOD])
        run.say(
            f"`{run.rows.name}`: the rows of period {periods} are restored to those from before {last.at.astimezone():%Y-%m-%d %H:%M}"
        )


def _ingested_before(run: "Run", job: "Job", plan: IngestPlan) -> dict[str, Any]:
    """The metadata of the commit that holds the source's rows."""
    rows = sum(n for _, n in plan.memory.periods.values())
    job.run_id = plan.memory.run_id
    message = f"the same source was ingested before: {rows:,} rows are in `{run.rows.name}`"
    run.done_before(job, message, plan.memory.commit["counts"])
    return dict(plan.memory.commit)


def _ingest(
    run: "Run", job: "Job", plan: IngestPlan, stamps: source_files.Stamps, reading: str, persist: Persist
) -> dict[str, Any]:  # fmt: skip
    """Reads, checks and commits the rows of a plan; the commit's metadata."""
    data = run.conf.data
    with run.step("read") as step:
        staged = stage_rows(run, plan, persist)
        counted = row_counts.count_staged(staged.rows, data)
        source_files.refuse_changes(stamps, [*plan.fresh, *plan.others()])
        step.rows = read = sum(row["n"] for row in counted)
    if not read:
        _refuse_no_rows(data, plan)
        return _ingested_before(run, job, plan)
    kept = dict.fromkeys(sorted(plan.again), 0) | row_counts.kept_by_period(counted)
    reasons = row_counts.quarantined_by_reason(counted)
    for note in quarantine.open_quote_notes(counted):
        run.say(note)
    with run.step("write") as step:
        quarantine.quarantine_staged(run, job.run_id, staged.rows, sum(reasons.values()))
        quarantine.refuse_excess(run, staged.rows, read, reasons)
        job.counts = {"read": read, "kept": sum(kept.values()), "quarantined": sum(reasons.values())}
        step.rows = job.counts["kept"]
        files = plan.after(counts_by_file(counted), kept, job.run_id)
        notes = row_counts.row_notes(data, run.rows.name, staged, counted, plan)
        metadata = {"reading": reading, "source": source_files.source_digest(data), "reasons": reasons, "notes": notes} | files
        _commit(run, job, staged.rows, plan, kept, metadata)
    job.sections += staged.sections
    if reasons:
        run.say(f"{sum(reasons.values()):,} rows went to `{run.quarantine.name}`: {quarantine.listed(reasons)}")
    for note in notes:
        run.say(note)
    return metadata


def _refuse_no_rows(data: "Data", plan: IngestPlan) -> None:
    """DataError if the table would lose a period, or the source never had a row."""
    source = source_files.source_label(data)
    if plan.again:
        raise DataError(
            f"the files of {source} that are new or changed have no rows, so period {min(plan.again)} would be empty; put the rows "
            "back, or delete those of that period in the table"
        )
    if not plan.memory.files:
        raise DataError(f"{source} has no rows")


def _commit(
    run: "Run", job: "Job", staged: Frame, plan: IngestPlan, kept: Mapping[str, int], metadata: Mapping[str, Any]
) -> None:  # fmt: skip
    data = run.conf.data
    columns = [*data_columns(staged), *([LAYOUT] if data.versions else []), PERIOD]
    rows = staged.where(col(REASON).is_null()).select(columns)
    _check_schema(run.rows, rows)
    if not run.rows.exists() and (odd := odd_column_names(columns)):
        run.say(
            f"column `{odd[0]}` turns on Delta's column mapping: Polars refuses such a table, and delta-rs' to_pyarrow_table reads "
            f"only NULL; a name of letters, digits and _ avoids that: data.columns: {{<name>: {{from: '{odd[0]}', type: …}}}}"
        )
    _refuse_lost_keys(run.rows, rows, data, plan.unknown & kept.keys())
    run.rows.replace(
        rows.with_columns({RUN: lit(job.run_id)}), PERIOD, kept, retention=data.retention, recorded=True, job="ingest",
        run_id=job.run_id, counts=dict(job.counts), unique=data.key, **metadata,
    )  # fmt: skip


def _refuse_lost_keys(table: "Table", rows: Frame, data: "Data", periods: set[str]) -> None:
    """DataError if periods that an unknown commit wrote hold keys that are in no file."""
    if not periods:
        return
    key = [PERIOD, *data.key]
    before = table.frame().where(col(PERIOD).is_in(sorted(periods)))
    lost = before.join(rows.select(key), key, "anti").group([PERIOD], n=count_rows()).sort([PERIOD])
    if first := lost.head(1).rows():
        raise DataError(
            f"table `{table.name}` has {first[0]['n']:,} rows of period {first[0][PERIOD]} whose keys are in no file of "
            f"{source_files.source_label(data)}, and the table's commits no longer say which file they came from; put the "
            "files back, delete those rows, or choose another data.table"
        )


def _check_schema(table: "Table", rows: Frame) -> None:
    if not table.exists():
        return
    before, after = table.frame().types, rows.types
    new = [c for c in after if c not in before]
    changed = [f"`{c}` from {before[c]} to {after[c]}" for c in after if c in before and before[c] != after[c]]
    lost = [c for c in before if c not in after and c != RUN]
    faults = [f"{kind}: {', '.join(names)}" for kind, names in (("new", new), ("lost", lost), ("changed", changed)) if names]
    if faults:
        raise DataError(
            f"the schema of table `{table.name}` is not that of the source ({'; '.join(faults)}); choose another data.table"
        )
