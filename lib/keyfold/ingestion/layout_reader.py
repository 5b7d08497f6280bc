"""Reads the layouts of a table, checks each file against its version, and brings all rows to the current schema."""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from keyfold.core.names import BRIDGED, FILE, LAYOUT, LINE, RAW, REASON
from keyfold.core.sql import col, column_reference
from keyfold.engine import functions as F
from keyfold.engine.arrow_types import arrow_type
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.spark_frame import SparkFrame, data_of
from keyfold.ingestion import casts, delta_versions, drift, sources
from keyfold.ingestion.bridges import bridge_column
from keyfold.ingestion.drift import ArrivedColumn, LayoutDrift
from keyfold.ingestion.page_sections import layouts_section
from keyfold.ingestion.source_files import LayoutFile, layout_files
from keyfold.ingestion.source_rows import SourceRows, raw_json
from keyfold.ingestion.text_files import local_text_files
from keyfold.readers.blocks import read_head
from keyfold.readers.formats import format_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.conf.data import Data
    from keyfold.conf.versions import LayoutVersion
    from keyfold.engine.tables import Table


class LayoutRows(NamedTuple):
    """Rows of one file with the columns that its version declares, typed, and how the file's layout differs from it."""

    file: LayoutFile
    rows: "DataFrame"
    drift: LayoutDrift


def read_layouts(engine: Engine, data: "Data", locations: Sequence[str] | None = None) -> SourceRows:
    """The rows of all files, or of those at `locations`, in the current schema, with LAYOUT and FILE (ConfError, DataError)."""
    files = [file for file in layout_files(data) if locations is None or file.location in locations]
    parts = [_read_file(engine, data, file) for file in files]
    rows = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), (_bridge(data, part) for part in parts))
    accepted = [(part.file.name, verdict.kind, verdict.message) for part in parts for verdict in part.drift.verdicts]
    notes = [f"{name}: {message} ({kind}); accepted" for name, kind, message in accepted]
    return SourceRows(SparkFrame(rows), notes, [layouts_section(accepted)] * bool(accepted))


def _read_file(engine: Engine, data: "Data", file: LayoutFile) -> LayoutRows:
    declared = file.version.types or data.types
    if is_text := file.path is not None and format_of(file.path) in ("csv", "json"):
        arrived = _header(engine, str(file.path), data)
    else:
        source = _read_typed(engine, data, file)
        arrived = _arrived(source.rows.drop(FILE, RAW, REASON))
    layout = drift.compare_layouts(declared, arrived).settled(file.name, _stub(data, file.version, declared, arrived))
    if is_text:
        columns = {layout.names[name]: type_ for name, type_ in (file.version.columns or data.columns).items()}
        source = sources.read_source(engine, str(file.path), columns, data.csv, [str(file.path)], data.zone)
    rows = data_of(source.rows)
    typed = (col(layout.names[name]).cast(type_).alias(name) for name, type_ in declared.items())
    line = col(LINE) if LINE in rows.columns else F.lit(None).cast("bigint")
    reason = col(REASON) if REASON in rows.columns else F.lit(None).cast("string")
    own_columns = {REASON: reason, RAW: col(RAW), LINE: line} | casts.merge_clock_faults(rows.columns, {})
    return LayoutRows(file, rows.select(*typed, *(value.alias(name) for name, value in own_columns.items())), layout)


def _stub(data: "Data", version: "LayoutVersion", declared: Mapping[str, str], arrived: Sequence[ArrivedColumn]) -> str:
    types = {c.name.removeprefix("\ufeff").strip(): c.type or declared.get(c.name, "string") for c in arrived}
    older, newer = (types, data.types) if version.columns else (declared, types)
    return drift.version_stub(older, newer, "<the older files>", data.key)


def _arrived(rows: Frame) -> list[ArrivedColumn]:
    if isinstance(rows, SparkFrame):  # which knows that some columns have no NULL
        return [ArrivedColumn(f.name, f.dataType.simpleString(), f.nullable) for f in rows.data.schema.fields]
    return [ArrivedColumn(name, type_) for name, type_ in rows.types.items()]


def _header(engine: Engine, path: str, data: "Data") -> list[ArrivedColumn]:
    form = sources.text_form(path, data.csv)
    names = local_text_files([path], form).json_keys(engine) if form.kind == "json" else [*read_head(path, form).form.names]
    return [ArrivedColumn(name) for name in names]


def _read_typed(engine: Engine, data: "Data", file: LayoutFile) -> SourceRows:
    """The rows of a Parquet file, a Delta table or a generator, which have types of their own."""
    if file.path:
        return sources.read_source(engine, file.path, {}, None, [file.path], data.zone)
    if file.version.delta:
        rows = delta_versions.appended_rows(engine.spark, file.version)
    else:
        assert not isinstance(data.source, str | None)
        rows = data.source.layout(engine.spark, file.version.name)
    return SourceRows(SparkFrame(rows).compute(raw_json(rows.columns)))


def _bridge(data: "Data", part: LayoutRows) -> "DataFrame":
    file, rows, _ = part
    is_older = file.version is not data.versions[-1]
    if is_older:
        bridged = {name: bridge_column(data, file.version, name) for name in data.types}
        reason = F.coalesce(col(REASON), *(column.reason for column in bridged.values()))
        columns = [column.value.cast(data.types[name]).alias(name) for name, column in bridged.items()]
        texts = {name: column.time_text for name, column in bridged.items() if column.time_text is not None}
        faults = casts.clock_faults(texts, data.zone)
    else:
        reason, columns, faults = col(REASON), [col(name) for name in data.types], {}
    own = {
        LAYOUT: F.lit(file.version.name), BRIDGED: F.lit(is_older), FILE: F.lit(file.location),
        REASON: reason, RAW: col(RAW), LINE: col(LINE),
    } | casts.merge_clock_faults(rows.columns, faults)  # fmt: skip
    return rows.select(*columns, *(value.alias(name) for name, value in own.items()))


def to_table_schema(table: "Table", data: "Data", rows: Frame, generated: Sequence[str] = ()) -> tuple[Frame, list[str]]:
    """Rows with the column names and types of an existing table, except for `generated` columns, and notes on accepted differences.

    DataError, with a stub to paste, if that takes a bridge.
    """
    own = [c for c in rows.columns if c.startswith("keyfold_") or (data.versions and c == BRIDGED)]
    theirs = table.frame().types
    declared = {c: type_ for c, type_ in theirs.items() if not c.startswith("keyfold_") and c not in (*own, *generated)}
    arrived = _arrived(rows.drop(*own))
    required = [f["name"] for f in table.store.snapshot().columns()["fields"] if not f["nullable"] and f["name"] in declared]
    comparison = drift.compare_layouts(declared, arrived, required)
    stub = drift.version_stub(declared, {c.name: str(c.type) for c in arrived}, "<the older files>", data.key)
    layout = comparison.settled(f"the source of table `{table.name}`", f"{stub}or choose another data.table")
    notes = [f"{verdict.message} ({verdict.kind}); accepted" for verdict in layout.verdicts]
    rows = rows.select([*(layout.names[name] for name in declared), *own])
    rows = rows.rename({arrived: name for name, arrived in layout.names.items() if arrived != name})
    others = {name: type_ for name, type_ in declared.items() if rows.types[name] != type_}
    return rows.compute(_cast_columns(others)).select([*declared, *own]) if others else rows, notes


def _cast_columns(types: Mapping[str, str]) -> Computed:
    """Columns as the wider types of a table."""
    wider = {name: arrow_type(type_) for name, type_ in types.items()}
    return Computed(wider, partial(_cast, wider), [f"CAST({column_reference(name)} AS {type_})" for name, type_ in types.items()])


def _cast(types: Mapping[str, pa.DataType], batch: pa.RecordBatch) -> list[pa.Array]:
    return [batch[name].cast(type_) for name, type_ in types.items()]
