"""Raw rows into a Delta table by period. What cannot be kept goes to quarantine, with its reason: read = kept + quarantined."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyfold.conf.columns import Columns
from keyfold.conf.data import Data
from keyfold.conf.file_period import FilePeriod, propose_period
from keyfold.core.digests import digest
from keyfold.core.names import CONTENT, FILE, LAYOUT, PERIOD, RAW, REASON, RUN
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine import tables
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.ingestion import increments as files
from keyfold.ingestion import layout_reader, row_counts, sources
from keyfold.ingestion.source_rows import EXACT_JSON, SourceRows
from keyfold.readers import paths
from keyfold.reporting.sections import files_section, reconciliation_section
from keyfold.runtime.periods import _period
from keyfold.runtime.quarantine import data_columns, quarantine_staged

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Job, Run

DUPLICATE_KEY = "the key stands more than once in the period"


def ingest(run: "Run") -> None:
    """Reads into the table what is new in the source, unless nothing is (ConfError, DataError, PromiseError)."""
    data = run.conf.data
    if data.source is None and not data.versions:
        raise ConfError(f"data.source is not set: nothing to ingest, and there is no table `{run.rows.name}`")
    with run.job("ingest") as job:
        run.rows.claim()
        if isinstance(data.source, str):
            paths.check_there(data.source)
        reading = layout_reader.reading_options(run.conf)
        now = _with_names(data, layout_reader.layout_files_now(run) if data.versions else files.files_now(run.spark, data.source))
        plan = files.plan_ingest(now, run.rows, digest(reading), _source(data))
        pinned = {name: file["digest"] for name, file in plan.now.items()}
        again = sorted(plan.again)
        job.run_id = run.identity("ingest", files=sorted(pinned.values()), after=plan.memory.run_id, again=again)
        job.inputs = {"files": pinned} if isinstance(data.source, str | None) else {"generator": reading["source"]}
        told = _known(run, job, plan) if plan.done else _ingest(run, job, plan, digest(reading))
        run.rows.keep_for(data.retention)
        counts = {k: job.counts[k] for k in ("read", "kept", "quarantined")}
        job.sections.append(reconciliation_section(counts, told["reasons"], title="Rows read"))
        job.sections += files_section({name: files.sum_counts(f["periods"]) for name, f in told["files"].items()}, told["notes"])


def _with_names(data: Data, now: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Files with digests that also cover what their rows take from their names: the period, and columns of folders."""
    if not isinstance(data.source, str):
        return now
    periods = data.period.of_paths(data.source, now) if isinstance(data.period, FilePeriod) else {}
    alike = not data.versions and sources.format_of(data.source) in ("csv", "json", "parquet")  # layouts may lie in any folders
    columns = paths.partition_columns(data.source, [*now]) if alike else {}
    named = {name: [periods.get(name), columns.get(name)] for name in now if name in periods or columns.get(name)}
    return {n: file | {"digest": digest([file["digest"], named[n]])} if n in named else file for n, file in now.items()}


def undo(run: "Run") -> None:
    """Brings back the rows that the newest ingest replaced; the next ingest reads the same files again (DataError)."""
    with run.job("undo") as job:
        run.rows.claim()
        commits = files.ingest_commits(run.rows.log()) if run.rows.exists() else []
        if not commits:
            raise DataError(f"table `{run.rows.name}` has no ingest to undo")
        last = commits[0]
        job.run_id = str(last.metadata["run_id"])
        with run.step("undo") as step:
            done = run.rows.undo(last, PERIOD)
            step.rows = max(done.rows, 0)
        job.counts = {"kept": max(done.rows, 0)}
        periods = sorted(last.metadata[PERIOD])
        some = ", ".join(periods[:5]) + (" …" if len(periods) > 5 else "")
        run.say(f"`{run.rows.name}` has the rows of period {some} again that it had before {last.at:%Y-%m-%d %H:%M}")


def _known(run: "Run", job: "Job", plan: files.IngestPlan) -> dict[str, Any]:
    """What the commit said that has the source's rows."""
    rows = sum(n for _, n in plan.memory.periods.values())
    said = f"the same source was ingested before: {rows:,} rows are in `{run.rows.name}`"
    job.run_id = plan.memory.run_id
    run.done_before(job, said, plan.memory.commit["counts"])
    return dict(plan.memory.commit)


def _ingest(run: "Run", job: "Job", plan: files.IngestPlan, reading: str) -> dict[str, Any]:
    data = run.conf.data
    with run.step("read") as step:
        staged = _staged(run, data, plan)
        counted = row_counts.count_rows(staged, data)
        step.rows = read = sum(row.n for row in counted)
    if not read and plan.memory.files and not plan.again:
        return _known(run, job, plan)
    if not read and plan.again:
        raise DataError(
            f"the files of {_named(data)} that are new or changed have no rows, so period {min(plan.again)} would be empty; put the rows "
            "back, or delete those of that period in the table"
        )
    if not read:
        raise DataError(f"{_named(data)} has no rows")
    kept = dict.fromkeys(sorted(plan.again), 0) | row_counts.kept_by_period(counted)
    reasons = row_counts.quarantined_by_reason(counted)
    rejected = sum(reasons.values())
    with run.step("write") as step:
        if rejected:
            quarantine_staged(run, job.run_id, staged, counted)
        _refuse_many(run, staged, read, reasons)
        job.counts = {"read": read, "kept": sum(kept.values()), "quarantined": rejected}
        after = plan.after(files.counts_by_file(counted), kept, job.run_id)
        told = {
            "reading": reading,
            "source": _source(data),
            "reasons": reasons,
            "notes": row_counts.row_notes(run, staged, counted, plan),
        } | after
        _commit(run, job, staged, plan, kept, told)
        step.rows = job.counts["kept"]
    staged.unpersist()
    if rejected:
        run.say(f"{rejected:,} rows went to `{run.quarantine.name}`: {_told(reasons)}")
    for note in told["notes"]:
        run.say(note)
    return told


def _refuse_many(run: "Run", staged: "DataFrame", read: int, reasons: Mapping[str, int]) -> None:
    """DataError where more rows are quarantined than data.max_quarantine, or all; the table is as it was."""
    data, rejected = run.conf.data, sum(reasons.values())
    if rejected < read and not row_counts.exceeds_share(rejected, read, data.max_quarantine):
        return
    limit = "" if rejected == read else f" That is {rejected / read:.1%}, and data.max_quarantine is {data.max_quarantine:.1%}."
    cause = _likely_cause(run, staged, reasons)
    raise DataError(
        f"{'none' if rejected == read else f'{rejected:,}'} of the {read:,} rows {'can' if rejected == read else 'cannot'} be kept: "
        f"{_told(reasons)}.{limit}{cause} Nothing has changed in `{run.rows.name}`; the rows are in `{run.quarantine.name}`"
    )


def _likely_cause(run: "Run", staged: "DataFrame", reasons: Mapping[str, int]) -> str:
    """What to do about keys that stand in several files, where that is the most frequent reason."""
    if max(reasons, key=lambda reason: reasons[reason]) != DUPLICATE_KEY:
        return ""
    data = run.conf.data
    copies = staged.where(col(REASON) == DUPLICATE_KEY).groupBy(PERIOD, *map(col, data.key))
    spread = copies.agg(F.count_distinct(FILE).alias("files"), F.count("*").alias("rows")).where("files > 1 and files = rows")
    found = spread.agg(F.sum("rows")).collect()[0][0] or 0
    if found < reasons[DUPLICATE_KEY] / 2:
        return f" Is data.key ({', '.join(data.key)}) the whole key?"
    names = [row[0] for row in staged.select(FILE).distinct().limit(1000).collect()]
    guess = propose_period(names)
    pattern = guess.pattern if guess else r"(\d{4}-\d{2})"
    return (
        f" Most of these keys stand in several files, once in each ({min(names)}, {max(names)}): is each file a monthly snapshot? "
        f"Set data.time and data.period, or take the period from the files' names by data.period: {{from: file, pattern: '{pattern}'}}."
    )


def _commit(
    run: "Run", job: "Job", staged: "DataFrame", plan: files.IngestPlan, kept: Mapping[str, int], told: Mapping[str, Any]
) -> None:  # fmt: skip
    data = run.conf.data
    rows = staged.where("keyfold_reason is null").select(
        *map(col, [*data_columns(staged), *([LAYOUT] if data.versions else [])]), PERIOD
    )
    _check_schema(run.rows, rows)
    if not run.rows.exists() and (odd := tables.odd_column_names(rows.columns)):
        run.say(
            f"column `{odd[0]}` turns on Delta's column mapping, with which Polars refuses the table and delta-rs' to_pyarrow_table finds "
            f"nothing but NULL; a name of letters, digits and _ does not: data.columns: {{<name>: {{from: '{odd[0]}', type: …}}}}"
        )
    _refuse_to_lose(run, rows, plan.unknown & kept.keys())
    run.rows.replace(
        rows.withColumn(RUN, F.lit(job.run_id)), PERIOD, kept, retention=run.conf.data.retention, recorded=True, job="ingest",
        run_id=job.run_id, counts=dict(job.counts), unique=run.conf.data.key, **told,
    )  # fmt: skip


def _refuse_to_lose(run: "Run", rows: "DataFrame", periods: set[str]) -> None:
    """DataError where periods, of whose commit nothing is known, hold keys that no file has now."""
    if not periods:
        return
    key = [PERIOD, *run.conf.data.key]
    there = run.rows.read().where(col(PERIOD).isin(sorted(periods)))
    lost = there.join(rows.select(*map(col, key)), key, "left_anti").groupBy(PERIOD).agg(F.count("*").alias("n")).sort(PERIOD)
    if found := lost.take(1):
        raise DataError(
            f"table `{run.rows.name}` has {found[0].n:,} rows of period {found[0][PERIOD]} whose keys are in no file of "
            f"{_named(run.conf.data)}, and what is known of the table's commits does not say which file they came from; put the "
            "files back, delete those rows, or choose another data.table"
        )


def _staged(run: "Run", data: Data, plan: files.IngestPlan) -> "DataFrame":
    """The rows with their period, and the reason why one cannot be kept; kept at hand, for they are read three times."""
    marked = None
    if not plan.fresh:
        plan.widen(())
    else:
        marked = _marked(run, data, plan.fresh).persist()
        if plan.memory.periods:
            plan.widen(row[0] for row in marked.where("keyfold_reason is null").select(PERIOD).distinct().collect())
    if others := plan.others():
        again = _marked(run, data, others).where(col(PERIOD).isin(sorted(plan.again))).persist()
        marked = again if marked is None else marked.unionByName(again)
    elif marked is None:
        raise DataError(f"no file of {_named(data)} has the rows of period {min(plan.again)}, which are lost")
    if _by_content(data, marked.columns):
        marked = _numbered(marked).persist()
    repeated = marked.where("keyfold_reason is null").groupBy(PERIOD, *map(col, data.key)).count().where("count > 1")
    twice = repeated.drop("count").withColumn("keyfold_twice", F.lit(DUPLICATE_KEY))
    if not twice.take(1):
        return marked
    # All copies go: which one came first depends on the order of rows.
    joined = marked.join(twice, [PERIOD, *data.key], "left")
    reason = F.coalesce(col(REASON), col("keyfold_twice"))
    return joined.withColumn(REASON, reason).drop("keyfold_twice").select(*map(col, marked.columns))


def _marked(run: "Run", data: Data, some: Sequence[str]) -> "DataFrame":
    source = _read(run, data, some)
    for note in source.notes:
        run.say(note)
    rows = source.rows
    content = _by_content(data, data_columns(rows))
    rows = layout_reader.to_table_schema(run, rows, [CONTENT] if content else [])
    _check_columns(data, [*data_columns(rows), *([CONTENT] if content else [])])
    missing = [] if content else [F.when(col(k).isNull(), F.lit(f"key `{k}` is NULL")) for k in data.key]
    reason = F.coalesce(source.reason, *missing, F.lit(None))
    if isinstance(data.period, FilePeriod):
        period = _period_of_file(data, some)
    else:
        period = _period(rows, data)
        if data.period != "all":
            reason = F.coalesce(reason, F.when(col(str(data.time)).isNull(), F.lit(f"`{data.time}` is NULL")))
    return rows.withColumns({PERIOD: period, REASON: reason, RAW: source.raw})


def _period_of_file(data: Data, names: Sequence[str]) -> "Column":
    """text: the period that the path of a row's file gives (DataError where one gives none)."""
    assert isinstance(data.period, FilePeriod)
    periods = data.period.of_paths(str(data.source), names)
    pairs = [F.lit(text) for pair in periods.items() for text in pair]
    return F.element_at(F.create_map(*pairs), col(FILE))


def _by_content(data: Data, columns: Sequence[str]) -> bool:
    return data.key == [CONTENT] and CONTENT not in columns


def _numbered(rows: "DataFrame") -> "DataFrame":
    """With the digest of what the row held, and which of the rows that hold the same it is."""
    from pyspark.sql import Window

    # By the names of its columns, for files may have them in another order.
    cells = F.array_sort(F.map_entries(F.from_json(RAW, "map<string,string>")))
    sorted_ = F.when(col(REASON).isNull(), F.to_json(F.map_from_entries(cells), EXACT_JSON))
    content = F.coalesce(sorted_, col(RAW))
    rows = rows.withColumn("keyfold_content", content)
    alike = Window.partitionBy(PERIOD, "keyfold_content").orderBy(F.lit(0))
    name = F.concat(F.substring(F.sha2("keyfold_content", 256), 1, 32), F.lit("-"), F.row_number().over(alike))
    return rows.select(name.alias(CONTENT), *map(col, rows.columns))


def _read(run: "Run", data: Data, some: Sequence[str]) -> SourceRows:
    if data.versions:
        return layout_reader.read_layouts(run, some)
    assert data.source is not None
    if not isinstance(data.source, str):
        rows = data.source.frame(run.spark).withColumn(FILE, F.lit(""))
        raw = F.to_json(F.struct(*map(col, data_columns(rows))), EXACT_JSON) if data.key == [CONTENT] else F.lit(None)
        return SourceRows(rows, F.lit(None).cast("string"), raw.cast("string"))
    return sources.read_source(run.spark, data.source, _types(run, data), data.csv, _given(data, some), data.zone)


def _given(data: Data, some: Sequence[str]) -> Sequence[str]:
    return () if sources.format_of(str(data.source)) == "delta" else some


def _types(run: "Run", data: Data) -> Columns:
    untyped = not data.columns and sources.format_of(str(data.source)) in ("csv", "json")
    return _looked_up(run, data) if untyped else data.columns


def _looked_up(run: "Run", data: Data) -> dict[str, str]:
    if run.rows.exists():
        fields = run.rows.read().schema.fields
        return {f.name: f.dataType.simpleString() for f in fields if not f.name.startswith("keyfold_") and f.name != CONTENT}
    raise ConfError(
        f"data.columns must give the types of the columns of {data.source}; "
        f"`./spark-submit.sh init {data.source} --key {','.join(data.key)}` writes them for you"
    )


def _check_columns(data: Data, columns: list[str]) -> None:
    wanted = {"key": data.key, "time": [data.time] if data.time else [], "label": [data.label] if data.label else []}
    for option, names in wanted.items():
        for name in names:
            if name not in columns:
                raise DataError(f"data.{option}: {_named(data)} has no column `{name}`{suggestion(name, columns)}")


def _check_schema(table: "Table", rows: "DataFrame") -> None:
    if not table.exists():
        return
    there = {f.name: f.dataType.simpleString() for f in table.read().schema.fields}
    come = {f.name: f.dataType.simpleString() for f in rows.schema.fields}
    new = [c for c in come if c not in there]
    changed = [f"`{c}` from {there[c]} to {come[c]}" for c in come if c in there and there[c] != come[c]]
    lost = [c for c in there if c not in come and c != RUN]
    if new or changed or lost:
        faults = [f"new: {', '.join(new)}"] * bool(new) + [f"lost: {', '.join(lost)}"] * bool(lost)
        faults += [f"changed: {', '.join(changed)}"] * bool(changed)
        raise DataError(
            f"table `{table.name}` has another schema than the source ({'; '.join(faults)}); choose another data.table"
        )


def _told(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{n:,} × {reason}" for reason, n in sorted(reasons.items(), key=lambda r: -r[1])[:5])


def _source(data: Data) -> str:
    """A digest of where rows come from, however they are read."""
    versions = [[v.files, v.delta and v.delta.model_dump()] for v in data.versions]
    return digest([layout_reader.source_location(data), versions])


def _named(data: Data) -> str:
    return f"the source `{data.source}`" if isinstance(data.source, str) else "the generated source"
