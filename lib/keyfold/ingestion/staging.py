"""Reads the files of a plan and marks each row with its period and, if it cannot be kept, the reason."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import narwhals as nw
import pyarrow as pa

from keyfold.conf.columns import Columns
from keyfold.conf.file_period import FilePeriod
from keyfold.core.names import CONTENT, FILE, PERIOD, RAW, REASON
from keyfold.core.sql import column_reference, text_literal
from keyfold.engine.columns import col, count_rows, lit, when
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.key_counts import count_keys
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.ingestion import layout_reader, page_sections, sources
from keyfold.ingestion.content_keys import add_content_key
from keyfold.ingestion.source_files import source_label
from keyfold.ingestion.source_rows import SourceRows, raw_json
from keyfold.readers.formats import format_of
from keyfold.runtime.periods import period_by_time
from keyfold.runtime.quarantine import data_columns

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.conf.use_case import Conf
    from keyfold.engine.tables import Table
    from keyfold.ingestion.increments import IngestPlan
    from keyfold.reporting.page import PageSection
    from keyfold.runtime.run import Run

Persist = Callable[[Frame], Frame]  # see `persisting`

_NO_TEXT = lit(None).cast(nw.String)
DUPLICATE_KEY = "the key occurs more than once in the period"


class StagedRows(NamedTuple):
    """Rows with period, reason and raw text, sections about their layouts, and whether their key is a digest of their content."""

    rows: Frame
    sections: "Sequence[PageSection]"
    content_key: bool


class _Part(NamedTuple):
    """Marked rows of some files, of all or of some periods, with notes and page sections about them."""

    files: Sequence[str]
    periods: set[str] | None
    rows: Frame
    notes: Sequence[str]
    sections: "Sequence[PageSection]"


def stage_rows(run: "Run", plan: "IngestPlan", persist: Persist) -> StagedRows:
    """The rows of fresh files and, from the others, of the periods to read again; persisted, because they are read three times.

    Only rows with a reason have their raw text; if keys repeat, the files are read again for the raw text of those rows.
    """
    data = run.conf.data
    parts = [_persisted(_read_part(run, plan.fresh), persist)] if plan.fresh else []
    if not plan.fresh:
        plan.widen(())
    elif plan.memory.periods:
        plan.widen(row[PERIOD] for row in parts[0].rows.where(col(REASON).is_null()).select([PERIOD]).distinct().rows())
    if others := plan.others():
        parts.append(_persisted(_read_part(run, others, {*plan.again}), persist))
    if not parts:
        raise DataError(f"no file of {source_label(data)} has the rows of period {min(plan.again)}, which are lost")
    for note in (note for part in parts for note in part.notes):
        run.say(note)
    sections = [page_sections.lineage_section(data)] if data.versions else []
    sections += (section for part in parts for section in part.sections)
    rows = _union(parts)
    if _is_content_key(data, rows.columns):  # unique, because copies are numbered
        return StagedRows(persist(add_content_key(rows)), sections, True)
    again = (_read_part(run, part.files, part.periods, whole=True) for part in parts)
    return StagedRows(_mark_duplicate_keys(rows, data.key, lambda: _union(again), persist), sections, False)


def _persisted(part: _Part, persist: Persist) -> _Part:
    return part._replace(rows=persist(part.rows))


def _union(parts: Iterable[_Part]) -> Frame:
    first, *others = (part.rows for part in parts)
    return first.union(*others) if others else first


def _read_part(run: "Run", files: Sequence[str], periods: set[str] | None = None, *, whole: bool = False) -> _Part:
    """The marked rows of files, of all periods or of some; `whole`: with the raw text of all rows."""
    data = run.conf.data
    whole = whole or data.key == [CONTENT]
    source = _read(run, files, whole=whole)
    rows, notes = _mark(run, source, files)
    if not whole:
        rows = rows.with_columns({RAW: when(~col(REASON).is_null()).then(col(RAW))})
    rows = rows if periods is None else rows.where(col(PERIOD).is_in(sorted(periods)))
    return _Part(files, periods, rows, notes, source.sections)


def _read(run: "Run", files: Sequence[str], *, whole: bool) -> SourceRows:
    data = run.conf.data
    needed = None if whole else [*data.key, *([str(data.time)] if _by_time(data) else [])]
    if data.versions:
        return layout_reader.read_layouts(run.engine, data, files, needed)
    assert data.source is not None
    if not isinstance(data.source, str):
        rows = data.source.frame(run.engine).with_columns({FILE: lit("")})
        return SourceRows(rows.compute(raw_json(data_columns(rows))) if data.key == [CONTENT] else rows)
    kind = format_of(data.source)
    types = data.columns or (_table_types(run.rows, data) if kind in ("csv", "json") else {})
    files = () if kind == "delta" else files
    return sources.read_source(run.engine, data.source, types, data.csv, files, data.zone, needed)


def _table_types(table: "Table", data: "Data") -> Columns:
    """The types of the table, for text without declared columns (ConfError if there is no table)."""
    if table.exists():
        return {c: type_ for c, type_ in table.frame().types.items() if not c.startswith("keyfold_") and c != CONTENT}
    raise ConfError(
        f"data.columns must give the types of the columns of {data.source}; "
        f"`./spark-submit.sh init {data.source} --key {','.join(data.key)}` writes them for you"
    )


def _mark(run: "Run", source: SourceRows, files: Sequence[str]) -> tuple[Frame, list[str]]:
    """The rows with PERIOD, REASON and RAW, and notes on them."""
    data, rows = run.conf.data, source.rows
    generated = [CONTENT] if _is_content_key(data, data_columns(rows)) else []
    notes = [*source.notes]
    if run.rows.exists():
        rows, accepted = layout_reader.to_table_schema(run.rows, data, rows, generated)
        notes += accepted
    _check_columns(run.conf, [*data_columns(rows), *generated])
    missing = {c: _NO_TEXT for c in (REASON, RAW) if c not in rows.columns}
    faults = [col(REASON), *(when(col(k).is_null()).then(lit(f"key `{k}` is NULL")) for k in data.key if k not in generated)]
    if _by_time(data):
        faults.append(when(col(str(data.time)).is_null()).then(lit(f"`{data.time}` is NULL")))
    rows = rows.compute(_period(data, rows.types, files))
    rows = rows.with_columns(missing) if missing else rows
    return rows.with_columns({REASON: nw.coalesce(*faults)}), notes


def _period(data: "Data", types: Mapping[str, str], files: Sequence[str]) -> Computed:
    """`keyfold_period`, by the path of a row's file or by its time (DataError for a file without a period)."""
    if not isinstance(data.period, FilePeriod):
        return period_by_time(data, types)
    periods = data.period.of_paths(str(data.source), files)
    pairs = ", ".join(text_literal(text) for pair in periods.items() for text in pair)
    return Computed(
        {PERIOD: pa.string()}, partial(_period_of_file, periods), [f"element_at(map({pairs}), {column_reference(FILE)})"]
    )


def _period_of_file(periods: Mapping[str, str], batch: pa.RecordBatch) -> list[pa.Array]:
    files = batch[FILE].dictionary_encode()
    return [pa.array(map(periods.get, files.dictionary.to_pylist()), pa.string()).take(files.indices)]


def _by_time(data: "Data") -> bool:
    """Whether the period of a row comes from its time."""
    return data.period != "all" and not isinstance(data.period, FilePeriod)


def _check_columns(conf: "Conf", columns: Sequence[str]) -> None:
    data = conf.data
    wanted = {"data.key": data.key, "data.time": [data.time] if data.time else [], "label": conf.label_columns}
    for option, names in wanted.items():
        for name in names:
            if name not in columns:
                raise DataError(f"{option}: {source_label(data)} has no column `{name}`{suggestion(name, columns)}")


def _is_content_key(data: "Data", columns: Sequence[str]) -> bool:
    return data.key == [CONTENT] and CONTENT not in columns


def _mark_duplicate_keys(rows: Frame, key: Sequence[str], again: Callable[[], Frame], persist: Persist) -> Frame:
    """Marks every row of a repeated key: which one came first depends on the order of rows.

    `again` reads the same rows with their raw text (DataError if the rows have changed).
    """
    good, each = col(REASON).is_null(), [PERIOD, *key]
    if count_keys(rows.where(good), each, rows.count()).unique:
        return rows
    counts = persist(rows.where(good).group(each, keyfold_n=count_rows()).where(col("keyfold_n") > 1))
    if not (expected := counts.group([], n=col("keyfold_n").sum()).rows()[0]["n"]):
        return rows
    repeated = counts.drop("keyfold_n")
    marked = persist(again().where(good).join(repeated, each, "semi").with_columns({REASON: lit(DUPLICATE_KEY)}))
    if marked.count() != expected:
        raise DataError("files changed while they were read; run again")
    return rows.where(~good).union(rows.where(good).join(repeated, each, "anti"), marked)
