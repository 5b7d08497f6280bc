"""The as-of join of the embedded engine: a kernel keeps the rows that answer, and DuckDB joins them."""

from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import narwhals as nw

from keyfold.engine.as_of import AT, FROM, INSTANT, UNTIL, Answering, Answers
from keyfold.engine.columns import col, lit
from keyfold.engine.embedded_frame import EmbeddedFrame
from keyfold.engine.frame import Computed, Joined

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TIME, _KNOWN = "keyfold_time", "keyfold_known_at"
_INSTANT = nw.Datetime("us", "UTC")


def join_as_of(
    rows: EmbeddedFrame, entity: Sequence[str], time: str, others: Sequence[Joined]
) -> tuple[EmbeddedFrame, list[int]]:  # fmt: skip
    """The rows with the values of other tables, and for each of these the number of rows whose entity it lacks."""
    keys = [f"keyfold_entity_{i}" for i in range(max(1, len(entity)))]  # a table without entities is one
    unknown = []
    for other in others:
        lines = _lines(other, keys)
        own = rows.with_columns(_keys(keys, entity) | {AT: col(time).cast(_INSTANT)})
        unknown.append(own.select(keys).join(lines.select(keys), keys, "anti").count())
        rows = _joined(own, _answering(lines, other, keys), keys, other).compute(_answers(other), rows.columns)
    return rows, unknown


def _keys(keys: Sequence[str], columns: Sequence[str]) -> dict[str, nw.Expr]:
    return dict(zip(keys, map(col, columns), strict=True)) if columns else {keys[0]: lit(0)}


def _lines(other: Joined, keys: Sequence[str]) -> EmbeddedFrame:
    """The rows that can answer: their keys, times and values."""
    frame = other.rows
    assert isinstance(frame, EmbeddedFrame)
    complete = reduce(and_, (~col(name).is_null() for name in (*other.entity, other.time, other.known)))
    late = {_TIME: col(other.time).cast(_INSTANT), _KNOWN: col(other.known).cast(_INSTANT)} if other.known != other.time else {}
    begin = nw.max_horizontal(*late.values()) if late else col(other.time).cast(_INSTANT)
    values = {name: col(column) for name, column in zip(_value_names(other), other.values, strict=True)}
    columns = {**_keys(keys, other.entity), FROM: begin, **late, **values}
    return frame.where(complete).with_columns(columns).select(columns)


def _value_names(other: Joined) -> list[str]:
    return [f"keyfold_value_{i}" for i in range(len(other.values))]


def _answering(lines: EmbeddedFrame, other: Joined, keys: Sequence[str]) -> EmbeddedFrame:
    names = _value_names(other)
    times = [_TIME, _KNOWN] if other.known != other.time else [FROM]
    types = lines.arrow_types([*keys, FROM, *names]) | ({} if other.ttl is None else {UNTIL: INSTANT})
    return lines.map_sorted(keys, [FROM], Answering(keys, times, names, other.ttl), types)


def _joined(rows: EmbeddedFrame, answers: EmbeddedFrame, keys: Sequence[str], other: Joined) -> EmbeddedFrame:
    columns = [FROM, *([] if other.ttl is None else [UNTIL]), *_value_names(other)]
    conditions = [*(f"a.{key} = b.{key}" for key in keys), f"a.{AT} >= b.{FROM}"]
    query = f"SELECT a.*, {', '.join(f'b.{name}' for name in columns)} FROM a ASOF LEFT JOIN b ON {' AND '.join(conditions)}"  # noqa: S608

    def recipe(connection: "DuckDBPyConnection") -> nw.LazyFrame[Any]:
        a, b = (frame.recipe(connection).to_native() for frame in (rows, answers))  # noqa: RUF059  (the query names them)
        return nw.from_native(connection.sql(query))

    return EmbeddedFrame(rows.database, recipe)


def _answers(other: Joined) -> Computed:
    types = other.rows.arrow_types([*other.values]).values()
    return Computed(dict(zip(other.values.values(), types, strict=True)), Answers(other.name, _value_names(other)))
