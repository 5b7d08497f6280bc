"""Reads the files of a plan and marks each row with its period and, if it cannot be kept, the reason."""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from keyfold.conf.columns import Columns
from keyfold.conf.file_period import FilePeriod
from keyfold.core.names import CONTENT, FILE, PERIOD, RAW, REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine.key_counts import count_keys
from keyfold.engine.spark_frame import SparkFrame, computed_column
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.ingestion import layout_reader, page_sections, sources
from keyfold.ingestion.source_files import source_label
from keyfold.ingestion.source_rows import EXACT_JSON, SourceRows
from keyfold.runtime.periods import period_by_time
from keyfold.runtime.quarantine import data_columns

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from keyfold.conf.data import Data
    from keyfold.engine.tables import Table
    from keyfold.ingestion.increments import IngestPlan
    from keyfold.reporting.page import PageSection
    from keyfold.runtime.run import Run

DUPLICATE_KEY = "the key occurs more than once in the period"


class StagedRows(NamedTuple):
    """Rows with period, reason and raw text, sections about their layouts, and whether their key is a digest of their content."""

    rows: "DataFrame"
    sections: "Sequence[PageSection]"
    content_key: bool


class _Part(NamedTuple):
    """Marked rows of some files, of all or of some periods, with notes and page sections about them."""

    files: Sequence[str]
    periods: set[str] | None
    rows: "DataFrame"
    notes: Sequence[str]
    sections: "Sequence[PageSection]"


def stage_rows(run: "Run", plan: "IngestPlan") -> StagedRows:
    """The rows of fresh files and, from the others, of the periods to read again; persisted, because they are read three times.

    Only rows with a reason have their raw text; if keys repeat, the files are read again for the raw text of those rows.
    """
    data = run.conf.data
    parts = [_persist(_read_part(run, plan.fresh))] if plan.fresh else []
    if not plan.fresh:
        plan.widen(())
    elif plan.memory.periods:
        plan.widen(row[0] for row in parts[0].rows.where(col(REASON).isNull()).select(PERIOD).distinct().collect())
    if others := plan.others():
        parts.append(_persist(_read_part(run, others, {*plan.again})))
    if not parts:
        raise DataError(f"no file of {source_label(data)} has the rows of period {min(plan.again)}, which are lost")
    for note in (note for part in parts for note in part.notes):
        run.say(note)
    sections = [page_sections.lineage_section(data)] if data.versions else []
    sections += (section for part in parts for section in part.sections)
    rows = _union(parts)
    if _is_content_key(data, rows.columns):  # unique, because copies are numbered
        return StagedRows(_add_content_key(rows).persist(), sections, True)
    again = (_read_part(run, part.files, part.periods, whole=True) for part in parts)
    return StagedRows(_mark_duplicate_keys(rows, data.key, lambda: _union(again)), sections, False)


def _persist(part: _Part) -> _Part:
    return part._replace(rows=part.rows.persist())


def _union(parts: "Iterable[_Part]") -> "DataFrame":
    return reduce(lambda a, b: a.unionByName(b), (part.rows for part in parts))


def _read_part(run: "Run", files: Sequence[str], periods: set[str] | None = None, *, whole: bool = False) -> _Part:
    """The marked rows of files, of all periods or of some; `whole`: with the raw text of all rows."""
    data = run.conf.data
    whole = whole or data.key == [CONTENT]
    source = _read(run, files, whole=whole)
    rows, notes = _mark(run, source, files)
    if not whole:
        rows = rows.withColumn(RAW, F.when(col(REASON).isNotNull(), col(RAW)))
    rows = rows if periods is None else rows.where(col(PERIOD).isin(sorted(periods)))
    return _Part(files, periods, rows, notes, source.sections)


def _read(run: "Run", files: Sequence[str], *, whole: bool) -> SourceRows:
    data = run.conf.data
    if data.versions:
        return layout_reader.read_layouts(run.spark, data, files)
    assert data.source is not None
    if not isinstance(data.source, str):
        rows = data.source.frame(run.spark).withColumn(FILE, F.lit(""))
        raw = F.to_json(F.struct(*map(col, data_columns(rows))), EXACT_JSON) if data.key == [CONTENT] else F.lit(None)
        return SourceRows(rows, F.lit(None).cast("string"), raw.cast("string"))
    kind = sources.format_of(data.source)
    types = _table_types(run.rows, data) if not data.columns and kind in ("csv", "json") else data.columns
    needed = None if whole else [*data.key, *([str(data.time)] if _by_time(data) else [])]
    return sources.read_source(run.spark, data.source, types, data.csv, () if kind == "delta" else files, data.zone, needed)


def _table_types(table: "Table", data: "Data") -> Columns:
    """The types of the table, for text without declared columns (ConfError if there is no table)."""
    if table.exists():
        fields = table.read().schema.fields
        return {f.name: f.dataType.simpleString() for f in fields if not f.name.startswith("keyfold_") and f.name != CONTENT}
    raise ConfError(
        f"data.columns must give the types of the columns of {data.source}; "
        f"`./spark-submit.sh init {data.source} --key {','.join(data.key)}` writes them for you"
    )


def _mark(run: "Run", source: SourceRows, files: Sequence[str]) -> "tuple[DataFrame, list[str]]":
    """The rows with PERIOD, REASON and RAW, and notes on them."""
    data, rows = run.conf.data, source.rows
    generated = [CONTENT] if _is_content_key(data, data_columns(rows)) else []
    notes = [*source.notes]
    if run.rows.exists():
        rows, accepted = layout_reader.to_table_schema(run.rows, data, rows, generated)
        notes += accepted
    _check_columns(data, [*data_columns(rows), *generated])
    faults = [source.reason, *(F.when(col(k).isNull(), F.lit(f"key `{k}` is NULL")) for k in data.key if k not in generated)]
    if isinstance(data.period, FilePeriod):
        period = _period_by_file(str(data.source), data.period, files)
    else:
        period = computed_column(period_by_time(data, SparkFrame(rows).types))
    if _by_time(data):
        faults.append(F.when(col(str(data.time)).isNull(), F.lit(f"`{data.time}` is NULL")))
    return rows.withColumns({PERIOD: period, REASON: F.coalesce(*faults, F.lit(None)), RAW: source.raw}), notes


def _by_time(data: "Data") -> bool:
    """Whether the period of a row comes from its time."""
    return data.period != "all" and not isinstance(data.period, FilePeriod)


def _check_columns(data: "Data", columns: Sequence[str]) -> None:
    wanted = {"key": data.key, "time": [data.time] if data.time else [], "label": [data.label] if data.label else []}
    for option, names in wanted.items():
        for name in names:
            if name not in columns:
                raise DataError(f"data.{option}: {source_label(data)} has no column `{name}`{suggestion(name, columns)}")


def _period_by_file(source: str, period: FilePeriod, files: Sequence[str]) -> "Column":
    """text: the period in the path of a row's file (DataError for a file without one)."""
    pairs = [F.lit(text) for pair in period.of_paths(source, files).items() for text in pair]
    return F.element_at(F.create_map(*pairs), col(FILE))


def _is_content_key(data: "Data", columns: Sequence[str]) -> bool:
    return data.key == [CONTENT] and CONTENT not in columns


def _add_content_key(rows: "DataFrame") -> "DataFrame":
    """Adds `<digest of the raw row>-<number among equal rows of the period>`."""
    from pyspark.sql import Window

    # Sorted by column name: files may order their columns differently.
    cells = F.array_sort(F.map_entries(F.from_json(RAW, "map<string,string>")))
    by_name = F.when(col(REASON).isNull(), F.to_json(F.map_from_entries(cells), EXACT_JSON))
    rows = rows.withColumn("keyfold_content", F.coalesce(by_name, col(RAW)))
    equal_rows = Window.partitionBy(PERIOD, "keyfold_content").orderBy(F.lit(0))
    key = F.concat(F.substring(F.sha2("keyfold_content", 256), 1, 32), F.lit("-"), F.row_number().over(equal_rows))
    return rows.select(key.alias(CONTENT), *map(col, rows.columns))


def _mark_duplicate_keys(rows: "DataFrame", key: Sequence[str], again: "Callable[[], DataFrame]") -> "DataFrame":
    """Marks every row of a repeated key: which one came first depends on the order of rows.

    `again` reads the same rows with their raw text (DataError if the rows have changed).
    """
    good, each = col(REASON).isNull(), [PERIOD, *key]
    if count_keys(rows.where(good), each, rows.count()).unique:
        return rows
    counts = rows.where(good).groupBy(*map(col, each)).agg(F.count("*").alias("keyfold_n")).where("keyfold_n > 1").persist()
    if not (expected := counts.agg(F.sum("keyfold_n")).collect()[0][0]):
        return rows
    repeated = counts.drop("keyfold_n")
    marked = again().where(good).join(repeated, each).withColumn(REASON, F.lit(DUPLICATE_KEY)).persist()
    if marked.count() != expected:
        raise DataError("files changed while they were read; run again")
    others = rows.where(~good).unionByName(rows.where(good).join(repeated, each, "left_anti"))
    return others.unionByName(marked).select(*map(col, rows.columns))
