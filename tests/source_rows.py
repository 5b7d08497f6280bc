"""Rows of a source, of any engine."""

from pathlib import Path

from keyfold.core.names import FILE, LINE, REASON


def cells(source, *columns, by=LINE):
    """The values of columns, by row in the order of a column."""
    found = source.rows.select(dict.fromkeys([*columns, by])).rows()
    return [tuple(row[name] for name in columns) for row in sorted(found, key=lambda row: row[by])]


def table(source, *columns):
    """The rows of a source with their reason, file and line, sorted by those."""
    found = [(*row[:-2], Path(row[-2]).name, row[-1]) for row in cells(source, *columns, REASON, FILE, LINE)]
    return sorted(found, key=lambda row: row[-2:])
