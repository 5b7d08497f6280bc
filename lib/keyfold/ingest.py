"""Raw rows into a Delta table by period. What cannot be kept goes to quarantine, with its reason: read = kept + quarantined."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from keyfold import bridge, generators, report, schema, sources
from keyfold.errors import ConfError, DataError, PromiseError, nearest
from keyfold.schema import FILE, Version, known_types
from keyfold.section import Section
from keyfold.sources import REPLACEMENT, Csv, Source
from keyfold.sql import col

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from keyfold.run import Job, Run
    from keyfold.tables import Table

PERIOD, RUN = "keyfold_period", "keyfold_run"
PATTERNS = {"year": "yyyy", "month": "yyyy-MM", "day": "yyyy-MM-dd"}
QUARANTINE = "run_id string, table string, period string, reason string, raw string, quarantined_at timestamp"


class Data(Section):
    """Where rows come from, what names them, and what is to be predicted."""

    source: generators.Source | None = Field(None, description="files or a generator; without it the table is there already")
    columns: dict[str, str] = Field(default_factory=dict, description="types of the columns of CSV and JSON files")
    csv: Csv | None = None
    versions: list[Version] = Field(
        default_factory=list, description="layouts of the table, older ones first, the current one last"
    )
    table: str | None = Field(None, pattern=r"^\w+(\.\w+){1,2}$", examples=["crm.customers"], description="default: <name>.rows")
    key: list[str] = Field(min_length=1, description="names a row within its period")
    time: str | None = Field(None, description="a date or timestamp column")
    period: Literal["all", "year", "month", "day"] = "all"
    label: str | None = None
    positive: str | int | bool | None = Field(None, description="the class whose probability is predicted")

    _known_types = field_validator("columns")(known_types)

    @field_validator("key")
    @classmethod
    def _named_once(cls, key: list[str]) -> list[str]:
        if twice := [name for name in key if key.count(name) > 1]:
            raise ValueError(f"`{twice[0]}` stands twice")
        return key

    @model_validator(mode="after")
    def _period_needs_time(self) -> "Data":
        if self.period != "all" and self.time is None:
            raise ValueError(f"period `{self.period}` needs `time`, the column that says when")
        return self

    @model_validator(mode="after")
    def _versions_fit(self) -> "Data":
        if self.versions:
            schema.check(self)
        return self


def ingest(run: "Run") -> None:
    """Reads the source into the table, unless just that was done (ConfError, DataError, PromiseError)."""
    data = run.conf.data
    with run.job("ingest") as job:
        pinned = sources.identity(data.source) if isinstance(data.source, str) else None
        pinned = bridge.identity(run) if data.versions else pinned
        job.run_id = run.identity("ingest", {"data": bridge.dumped(data)}, files=pinned)
        job.inputs = {"files": pinned} if pinned else {"generator": data.model_dump(mode="json")["source"]}
        done = _done(run.rows, job.run_id)
        if done:
            job.status = "done before"
            job.counts, reasons = done
            run.say(f"the same source was ingested before: {job.counts['kept']:,} rows are in `{run.rows.name}`")
        else:
            reasons = _ingest(run, job)
        run.sections.append(
            report.reconciliation({k: job.counts[k] for k in ("read", "kept", "quarantined")}, reasons, title="Rows read")
        )


def _ingest(run: "Run", job: "Job") -> dict[str, int]:
    data = run.conf.data
    with run.step("read") as step:
        staged = _staged(run, data)
        counts = _counted(run, staged, data)
        step.rows = read = sum(counts.values())
    if not read:
        raise DataError(f"{_named(data)} has no rows")
    by_file = bridge.counted(staged) if data.versions else {}
    run.sections += [bridge.by_file(by_file)] if by_file else []
    kept = {period: n for (period, reason), n in counts.items() if reason is None and period is not None}
    rejected = {key: n for key, n in counts.items() if key[1] is not None}
    reasons = _by_reason(rejected)
    with run.step("write") as step:
        if rejected:
            quarantine(run, job.run_id, staged.where("keyfold_reason is not null"), sum(rejected.values()))
        if not kept:
            raise DataError(f"none of the {read:,} rows can be kept: {_told(reasons)}; see `{run.quarantine.name}`")
        job.counts = {"read": read, "kept": sum(kept.values()), "quarantined": sum(rejected.values())}
        _commit(run, job, staged, kept, reasons, by_file=by_file)
        step.rows = job.counts["kept"]
    staged.unpersist()
    if job.counts["read"] != job.counts["kept"] + job.counts["quarantined"]:
        raise PromiseError(f"read {read:,} rows, but kept and quarantined {job.counts}; please report this")
    if rejected:
        run.say(f"{job.counts['quarantined']:,} rows went to `{run.quarantine.name}`: {_told(reasons)}")
    return reasons


def _commit(
    run: "Run", job: "Job", staged: "DataFrame", kept: Mapping[str, int], reasons: Mapping[str, int], **more: Any
) -> None:
    from pyspark.sql import functions as F

    rows = staged.where("keyfold_reason is null").drop("keyfold_reason", "keyfold_raw", FILE)
    _check_schema(run.rows, rows)
    run.rows.replace(
        rows.withColumn(RUN, F.lit(job.run_id)), PERIOD, kept, job="ingest", run_id=job.run_id, counts=dict(job.counts),
        reasons=dict(reasons), unique=run.conf.data.key, **more,
    )  # fmt: skip


def _staged(run: "Run", data: Data) -> "DataFrame":
    """The rows with their period, and the reason why one cannot be kept; kept at hand, for they are read three times."""
    from pyspark.sql import functions as F

    source = _read(run, data)
    rows = source.rows
    _check_columns(data, [c for c in rows.columns if not c.startswith("keyfold_")])
    rows = bridge.to_table(run, rows)
    reason = F.coalesce(source.reason, *(F.when(col(k).isNull(), F.lit(f"key `{k}` is NULL")) for k in data.key))
    if data.period != "all":
        reason = F.coalesce(reason, F.when(col(str(data.time)).isNull(), F.lit(f"`{data.time}` is NULL")))
    marked = rows.withColumns({PERIOD: _period(rows, data), "keyfold_reason": reason, "keyfold_raw": source.raw}).persist()
    repeated = marked.where("keyfold_reason is null").groupBy(PERIOD, *map(col, data.key)).count().where("count > 1")
    twice = repeated.drop("count").withColumn("keyfold_twice", F.lit("the key stands more than once in the period"))
    if not twice.take(1):
        return marked
    # All copies go: which one came first depends on the order of rows.
    joined = marked.join(twice, [PERIOD, *data.key], "left")
    reason = F.coalesce(col("keyfold_reason"), col("keyfold_twice"))
    return joined.withColumn("keyfold_reason", reason).drop("keyfold_twice").select(*map(col, marked.columns))


def _read(run: "Run", data: Data) -> Source:
    from pyspark.sql import functions as F

    if data.versions:
        return bridge.read(run)
    if data.source is None:
        raise ConfError(f"data.source is not set: nothing to ingest, and there is no table `{run.rows.name}`")
    if not isinstance(data.source, str):
        rows = data.source.frame(run.spark)
        return Source(rows, F.lit(None).cast("string"), F.lit(None).cast("string"))
    sources.check_there(data.source)
    columns = data.columns
    if not columns and sources.format_of(data.source) in ("csv", "json"):
        columns = _looked_up(run, data)
    return sources.read(run.spark, data.source, columns, data.csv)


def _looked_up(run: "Run", data: Data) -> dict[str, str]:
    if run.rows.exists():
        fields = run.rows.read().schema.fields
        return {f.name: f.dataType.simpleString() for f in fields if not f.name.startswith("keyfold_")}
    raise ConfError(
        f"data.columns must give the types of the columns of {data.source}; "
        f"`./spark-submit.sh init {data.source} --key {','.join(data.key)}` writes them for you"
    )


def _check_columns(data: Data, columns: list[str]) -> None:
    wanted = {"key": data.key, "time": [data.time] if data.time else [], "label": [data.label] if data.label else []}
    for option, names in wanted.items():
        for name in names:
            if name not in columns:
                raise DataError(f"data.{option}: {_named(data)} has no column `{name}`{nearest(name, columns)}")


def _period(rows: "DataFrame", data: Data) -> "Column":
    from pyspark.sql import functions as F

    if data.period == "all":
        return F.lit("all")
    type_ = rows.schema[str(data.time)].dataType.simpleString()
    if type_ not in ("date", "timestamp", "timestamp_ntz"):
        raise DataError(f"data.time: `{data.time}` is {type_}; it must be a date or a timestamp (say so in data.columns)")
    return F.date_format(col(data.time or ""), PATTERNS[data.period])


def _counted(run: "Run", staged: "DataFrame", data: Data) -> dict[tuple[str | None, str | None], int]:
    """Rows by period and reason; on the way, refuses text that is not in its encoding."""
    from pyspark.sql import functions as F

    odd = F.coalesce(F.contains(col("keyfold_raw"), F.lit(REPLACEMENT)), F.lit(False))
    by = staged.groupBy(PERIOD, "keyfold_reason").agg(F.count("*").alias("n"), F.max(odd).alias("odd")).collect()
    text = isinstance(data.source, str) and sources.format_of(data.source) in ("csv", "json")
    utf8 = text and (data.csv is None or data.csv.encoding == "utf-8")
    if utf8 and any(r.odd for r in by) and (where := sources.not_in_encoding(run.spark, str(data.source))):
        raise DataError(f"{where} is not UTF-8; {sources.IN_ANOTHER_ENCODING}")
    return {(row[PERIOD], row["keyfold_reason"]): row.n for row in by}


def quarantine(run: "Run", run_id: str, rows: "DataFrame", count: int) -> None:
    """Puts rows aside, with `keyfold_reason` and their raw text, in the place of what the same run put there before."""
    from pyspark.sql import functions as F

    values = [c for c in rows.columns if not c.startswith("keyfold_")]
    raw = F.to_json(F.struct(*map(col, values)), {"ignoreNullFields": "false"})
    raw = F.coalesce(col("keyfold_raw"), raw) if "keyfold_raw" in rows.columns else raw
    aside = rows.select(
        F.lit(run_id).alias("run_id"), F.lit(run.rows.name).alias("table"), col(PERIOD).alias("period"),
        col("keyfold_reason").alias("reason"), raw.alias("raw"), F.current_timestamp().alias("quarantined_at"),
    )  # fmt: skip
    run.quarantine.replace(aside, "run_id", {run_id: count}, job="quarantine")


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


def _done(table: "Table", run_id: str) -> tuple[dict[str, int], dict[str, int]] | None:
    """The counts and the reasons of the commit that brought just this source, where its rows are still all there."""
    if not table.exists():
        return None
    commit = next((c for c in table.commits() if c.metadata.get("run_id") == run_id), None)
    if commit is None:
        return None
    there = table.read().where(col(RUN) == run_id).groupBy(PERIOD).count().collect()
    same = {row[PERIOD]: row["count"] for row in there} == commit.metadata[PERIOD]
    return (commit.metadata["counts"], commit.metadata["reasons"]) if same else None


def _by_reason(rejected: Mapping[tuple[Any, Any], int]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for (_, reason), n in rejected.items():
        reasons[reason] = reasons.get(reason, 0) + n
    return reasons


def _told(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{n:,} × {reason}" for reason, n in sorted(reasons.items(), key=lambda r: -r[1])[:5])


def _named(data: Data) -> str:
    return f"the source `{data.source}`" if isinstance(data.source, str) else "the generated source"
