"""The one place where names and values become part of SQL."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column


def quoted(name: str) -> str:
    """A name as an identifier, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A text as a SQL literal; a backslash and a quote are escaped."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def col(name: str) -> "Column":
    """The column of just this name, with dots, blanks and back-quotes in it."""
    from pyspark.sql import functions as F

    return F.col(quoted(name))
