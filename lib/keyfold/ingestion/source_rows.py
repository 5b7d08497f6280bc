"""Rows as Spark reads them from a source, with the name of their file."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from keyfold.reporting.page import PageSection

EXACT_JSON = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


class SourceRows(NamedTuple):
    """Typed rows; by row, `reason` why it cannot be kept (or NULL) and its `raw` text; notes and page sections about all of them."""

    rows: "DataFrame"
    reason: "Column"
    raw: "Column"
    notes: Sequence[str] = ()
    sections: "Sequence[PageSection]" = ()


def escape_glob(file: str) -> str:
    """A file's name as a pattern that matches only itself."""
    return re.sub(r"([{}\[\]*?\\])", r"\\\1", file)


def source_file(rows: "DataFrame") -> "Column":
    """text: the file of each row; a plain path if it is local, else a URI."""
    uri = rows.metadataColumn("_metadata").getField("file_path")
    name = F.url_decode(F.replace(uri, F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(name, "^file:/+", "/")
