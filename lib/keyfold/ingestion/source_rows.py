"""Rows of a source, with the name of their file."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from keyfold.conf.columns import DeclaredColumn, origins
from keyfold.core.json_texts import row_jsons, sql_row_json
from keyfold.core.names import RAW
from keyfold.engine import functions as F
from keyfold.engine.frame import Computed, Frame
from keyfold.readers.casts import TextFormat
from keyfold.readers.typed_rows import RowTypes, TextColumn, raw_texts

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

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


def row_types(
    names: Sequence[str], wanted: Mapping[str, DeclaredColumn], format_: TextFormat, needed: Sequence[str] | None
) -> RowTypes:
    """The types of a source's columns of text, in their order in the files; those that are not declared are text."""
    renamed = origins(wanted)
    columns = [(renamed.get(name, name), name) for name in names]
    declared = [(name, wanted.get(name, DeclaredColumn("string", None, origin, "string"))) for name, origin in columns]
    return RowTypes([TextColumn(name, c.type, c.format, c.name, c.declared) for name, c in declared], format_, needed)


def escape_glob(file: str) -> str:
    """A file's name as a pattern that matches only itself."""
    return re.sub(r"([{}\[\]*?\\])", r"\\\1", file)


def source_file(rows: "DataFrame") -> "Column":
    """text: the file of each row that Spark reads; a plain path if it is local, else a URI."""
    uri = rows.metadataColumn("_metadata").getField("file_path")
    name = F.url_decode(F.replace(uri, F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(name, "^file:/+", "/")
