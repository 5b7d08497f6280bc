"""Steps that look at each row alone, in Arrow: on the rows of a kernel they save a detour through DuckDB.

Arrow takes only expressions of which it makes what DuckDB does: comparisons, choices and tests for NULL of some types. Arithmetic is not among
them (Arrow's integers wrap), and no column of floats is, where NaN is the largest number for DuckDB and Spark.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import narwhals as nw
import pyarrow as pa

from keyfold.engine.columns import escape_name

_OPERATIONS = {
    "col", "lit", "alias", "when_then", "all_horizontal", "coalesce", "is_null", "is_in", "__and__", "__or__", "__invert__", "__eq__",
    "__ne__", "__lt__", "__le__", "__gt__", "__ge__",
}  # fmt: skip
_WHOLE = (pa.types.is_boolean, pa.types.is_signed_integer)
_TYPES = (*_WHOLE, pa.types.is_string, pa.types.is_date32, lambda type_: type_ in (pa.timestamp("us"), pa.timestamp("us", "UTC")))


@dataclass(frozen=True)
class EachRow:
    """Applies a function of narwhals frames to batches."""

    function: Callable[[nw.LazyFrame[Any]], nw.LazyFrame[Any]]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows that the function makes."""
        for batch in batches:
            odd = [escape_name(name) for name in batch.schema.names]
            rows = nw.from_native(pa.Table.from_batches([batch.rename_columns(odd)])).lazy()
            yield from self.function(rows).to_native().combine_chunks().to_batches()


def are_plain(expressions: Iterable[nw.Expr], schema: pa.Schema) -> bool:
    """Whether Arrow makes of expressions what DuckDB does."""
    columns = {escape_name(field.name): field.type for field in schema}
    plain = {name: type_ for name, type_ in columns.items() if any(is_of(type_) for is_of in _TYPES)}
    whole = {name for name, type_ in plain.items() if any(is_of(type_) for is_of in _WHOLE)}
    expressions = [*expressions]
    if not all(_is_plain(expression, whole) for expression in expressions):
        return False
    named = [expression.alias(str(i)) for i, expression in enumerate(expressions)]
    try:
        nw.from_native(pa.schema([*plain.items()]).empty_table()).select(*named)
    except (nw.exceptions.NarwhalsError, pa.ArrowException):  # another column, or types that do not fit
        return False
    return True


def _is_plain(expression: Any, whole: set[str]) -> bool:
    """By the nodes of an expression, which narwhals may change: what is not known is not plain. `whole`: booleans and whole numbers."""
    nodes = getattr(expression, "_nodes", [])
    return bool(nodes) and all(
        _is_plain_cast(before, node, whole) if node.name == "cast" else _is_plain_node(node, whole)
        for before, node in zip([None, *nodes], nodes, strict=False)
    )


def _is_plain_node(node: Any, whole: set[str]) -> bool:
    values = [node.kwargs.get("value"), *node.kwargs.get("other", [])]
    operands = (_is_plain(one, whole) if isinstance(one, nw.Expr) else _is_value(one) for one in node.exprs)
    return node.name in _OPERATIONS and all(map(_is_value, values)) and all(operands)


def _is_plain_cast(before: Any, cast: Any, whole: set[str]) -> bool:
    """Whether NULL is cast to a text or a whole number, or a boolean or whole number to a whole number."""
    of, type_ = before.kwargs if before else {}, cast.kwargs.get("dtype")
    if before and before.name == "lit":
        return of.get("value") is None and type_ in (nw.Int64, nw.String)
    return bool(before) and before.name == "col" and {*of.get("names", [""])} <= whole and type_ == nw.Int64


def _is_value(value: object) -> bool:
    return value is None or isinstance(value, str | bool | date) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def with_types(schema: pa.Schema, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """A schema with some columns of these types; those that it lacks are at the end."""
    fields = {field.name: field.type for field in schema} | dict(types)
    return pa.schema([*fields.items()])
