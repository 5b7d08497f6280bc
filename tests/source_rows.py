"""Rows of a source with their reason, file and line."""

from pathlib import Path

from keyfold.core.names import FILE, LINE
from keyfold.core.sql import col


def table(source, *columns):
    """The rows of a source with their reason, file and line, sorted by those."""
    more = [source.reason.alias("reason"), col(FILE).alias("file"), *([col(LINE)] if LINE in source.rows.columns else [])]
    found = source.rows.select(*map(col, columns), *more).collect()
    return sorted(
        ((*row[:-2], Path(row[-2]).name, row[-1]) if len(more) == 3 else tuple(row) for row in found), key=lambda r: r[-2:]
    )
