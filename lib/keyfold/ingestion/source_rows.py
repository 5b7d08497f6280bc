"""Rows of a source."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from keyfold.conf.columns import DeclaredColumn, origins
from keyfold.core.json_texts import row_jsons, sql_row_json
from keyfold.core.names import RAW
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.spark_files import list_files
from keyfold.readers.casts import TextFormat
from keyfold.readers.paths import local_files
from keyfold.readers.typed_rows import RowTypes, TextColumn, raw_texts

if TYPE_CHECKING:
    from keyfold.reporting.page import PageSection


class SourceRows(NamedTuple):
    """Typed rows, perhaps with REASON why a row cannot be kept, and RAW text; notes and page sections about all of them."""

    rows: Frame
    notes: Sequence[str] = ()
    sections: "Sequence[PageSection]" = ()


def raw_json(columns: Sequence[str], needed: Sequence[str] | None = None) -> Computed:
    """RAW, the JSON of columns; `needed`: if given, only of rows without a value in one of these columns."""
    return Computed({RAW: pa.string()}, partial(_raw_json, columns, needed), [sql_row_json(columns, exact=True)])


def _raw_json(columns: Sequence[str], needed: Sequence[str] | None, batch: pa.RecordBatch) -> list[pa.Array]:
    reason, values = pa.nulls(batch.num_rows), {name: batch[name] for name in needed or () if name in batch.schema.names}
    return [raw_texts(reason, values, needed, batch, lambda rows: row_jsons(rows, columns, exact=True))]


def source_names(engine: Engine, path: str) -> list[str]:
    """The files of a source, which Spark lists if they are in another file system."""
    local = local_files(path)
    return [file.name for file in list_files(engine.spark, path)] if local is None else [*map(os.path.abspath, local)]


def row_types(
    names: Sequence[str], wanted: Mapping[str, DeclaredColumn], format_: TextFormat, needed: Sequence[str] | None
) -> RowTypes:
    """The types of a source's columns of text, in their order in the files; those that are not declared are text."""
    renamed = origins(wanted)
    columns = [(renamed.get(name, name), name) for name in names]
    declared = [(name, wanted.get(name, DeclaredColumn("string", None, origin, "string"))) for name, origin in columns]
    return RowTypes([TextColumn(name, c.type, c.format, c.name, c.declared) for name, c in declared], format_, needed)
