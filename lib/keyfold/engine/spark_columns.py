"""SQL expressions and names as Columns of Spark."""

from typing import TYPE_CHECKING

from keyfold.core.sql import quote_identifier
from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column


def column(expression: str) -> "Column":
    """The Column of an expression."""
    return F.expr(expression)


def col(name: str) -> "Column":
    """The column of exactly this name, which may hold dots, blanks and back-quotes."""
    return F.col(quote_identifier(name))
