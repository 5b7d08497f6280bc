"""Reads the layouts of a table, checks each file against its version, and brings all rows to the current schema."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import narwhals as nw
import pyarrow as pa

from keyfold.core.names import BRIDGED, FILE, LAYOUT, LINE, RAW, REASON
from keyfold.core.sql import column_reference
from keyfold.engine.arrow_types import arrow_type
from keyfold.engine.columns import lit
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.spark_frame import SparkFrame
from keyfold.ingestion import delta_versions, drift, sources
from keyfold.ingestion.bridges import Bridge
from keyfold.ingestion.drift import ArrivedColumn, LayoutDrift
from keyfold.ingestion.page_sections import layouts_section
from keyfold.ingestion.source_files import LayoutFile, layout_files
from keyfold.ingestion.source_rows import SourceRows, raw_json
from keyfold.ingestion.text_files import local_text_files
from keyfold.readers.blocks import read_head
from keyfold.readers.casts import fault_columns
from keyfold.readers.formats import format_of

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.conf.versions import LayoutVersion
    from keyfold.engine.tables import Table


class LayoutRows(NamedTuple):
    """Rows of one file with the columns that its version declares, typed, and how the file's layout differs from it."""

    file: LayoutFile
    rows: Frame
    drift: LayoutDrift


def read_layouts(
    engine: Engine, data: "Data", locations: Sequence[str] | None = None, needed: Sequence[str] | None = None
) -> SourceRows:  # fmt: skip
    """The rows of all files, or of those at `locations`, in the current schema, with LAYOUT and FILE (ConfError, DataError).

    needed: if given, only rows with a reason, or without a value in one of these columns, need their raw text.
    """
    files = [file for file in layout_files(data) if locations is None or file.location in locations]
    parts = [_read_file(engine, data, file, needed) for file in files]
    first, *others = (_bridge(data, part, needed) for part in parts)
    accepted = [(part.file.name, verdict.kind, verdict.message) for part in parts for verdict in part.drift.verdicts]
    notes = [f"{name}: {message} ({kind}); accepted" for name, kind, message in accepted]
    return SourceRows(first.union(*others) if others else first, notes, [layouts_section(accepted)] * bool(accepted))


def _read_file(engine: Engine, data: "Data", file: LayoutFile, needed: Sequence[str] | None) -> LayoutRows:
    declared = file.version.types or data.types
    if is_text := file.path is not None and format_of(file.path) in ("csv", "json"):
        arrived = _header(engine, str(file.path), data)
    else:
        rows = _read_typed(engine, data, file, needed)
        arrived = _arrived(rows.drop(FILE, RAW, REASON))
    layout = drift.compare_layouts(declared, arrived).settled(file.name, _stub(data, file.version, declared, arrived))
    if is_text:
        columns = {layout.names[name]: type_ for name, type_ in (file.version.columns or data.columns).items()}
        rows = sources.read_source(engine, str(file.path), columns, data.csv, [str(file.path)], data.zone).rows
    own = _own_columns(data.zone)
    rows = rows.with_columns({name: null for name, null in own.items() if name not in rows.columns})
    return LayoutRows(file, _as_declared(rows, declared, layout.names, [*own]), layout)


_NULLS = {"string": lit(None).cast(nw.String), "bigint": lit(None).cast(nw.Int64), "int": lit(None).cast(nw.Int32)}


def _own_columns(zone: str | None) -> dict[str, nw.Expr]:
    """NULL of its type, for each column that the rows of all files have beside those of their layout."""
    types = {REASON: "string", RAW: "string", LINE: "bigint"} | fault_columns(zone)
    return {name: _NULLS[type_] for name, type_ in types.items()}


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


def _read_typed(engine: Engine, data: "Data", file: LayoutFile, needed: Sequence[str] | None) -> Frame:
    """The rows of a Parquet file, a Delta table or a generator, which have types of their own."""
    if file.path:
        needed = needed if needed is None or file.version is data.versions[-1] else ()  # of current columns
        return sources.read_source(engine, file.path, {}, None, [file.path], data.zone, needed).rows
    if file.version.delta:
        return delta_versions.appended_rows(engine, file.version)
    assert not isinstance(data.source, str | None)
    return data.source.layout(engine, file.version.name)


def _bridge(data: "Data", part: LayoutRows, needed: Sequence[str] | None) -> Frame:
    file, rows, _ = part
    is_older = file.version is not data.versions[-1]
    if is_older:
        rows = rows.compute(Bridge.to_current(data, file.version, needed).computed(), [LINE])
    elif file.path is None:
        rows = rows.compute(raw_json([*data.types], needed))
    own = {LAYOUT: lit(file.version.name), BRIDGED: lit(is_older), FILE: lit(file.location)}
    return rows.with_columns(own).select([*data.types, *own, *_own_columns(data.zone)])


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
    return _as_declared(rows, declared, layout.names, own), notes


def _as_declared(rows: Frame, declared: Mapping[str, str], names: Mapping[str, str], own: Sequence[str]) -> Frame:
    """Columns by the declared names and types, from those of `names`, and keyfold's own."""
    rows = rows.select([*(names[name] for name in declared), *own])
    rows = rows.rename({arrived: name for name, arrived in names.items() if arrived != name})
    others = {name: type_ for name, type_ in declared.items() if rows.types[name] != type_}
    return rows.compute(_cast_columns(others)).select([*declared, *own]) if others else rows


def _cast_columns(types: Mapping[str, str]) -> Computed:
    """Columns as the wider types of a table."""
    wider = {name: arrow_type(type_) for name, type_ in types.items()}
    return Computed(wider, partial(_cast, wider), [f"CAST({column_reference(name)} AS {type_})" for name, type_ in types.items()])


def _cast(types: Mapping[str, pa.DataType], batch: pa.RecordBatch) -> list[pa.Array]:
    return [batch[name].cast(type_) for name, type_ in types.items()]
