"""Rows as they came from a source, and what Spark says of their files."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

EXACT_JSON = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


class SourceRows(NamedTuple):
    """Rows as they came: `rows` typed, `reason` why a row cannot be kept (or NULL), `raw` its text; what is worth telling."""

    rows: "DataFrame"
    reason: "Column"
    raw: "Column"
    notes: Sequence[str] = ()


def escape_glob(file: str) -> str:
    """A file's name as a pattern that only itself matches."""
    return re.sub(r"([{}\[\]*?\\])", r"\\\1", file)


def source_file(rows: "DataFrame") -> "Column":
    """The name of the file that a row is of: a path, where it is local."""
    uri = rows.metadataColumn("_metadata").getField("file_path")
    name = F.url_decode(F.replace(uri, F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(name, "^file:/+", "/")
