"""Rows as the JSON that Spark's `to_json` writes, with fields that are NULL and the time zone UTC.

`exact` JSON writes times with microseconds, other JSON with milliseconds.
"""

import base64
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import sql
from keyfold.core.texts import value_texts

_SHORT = {"\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\"}
_ESCAPES = str.maketrans({chr(c): f"\\u{c:04X}" for c in range(32)} | _SHORT)
_EXACT = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def sql_row_json(columns: Sequence[str], *, exact: bool = False) -> str:
    """Text: an object for each row, with some of its columns."""
    options = {"ignoreNullFields": "false"} | (_EXACT if exact else {})
    pairs = ", ".join(sql.text_literal(text) for option in options.items() for text in option)
    fields = ", ".join(f"{sql.text_literal(name)}, {sql.column_reference(name)}" for name in columns)
    return f"to_json(named_struct({fields}), map({pairs}))"


def row_jsons(rows: pa.RecordBatch, columns: Sequence[str], *, exact: bool = False) -> pa.Array:
    """`sql_row_json` of Arrow rows."""
    struct = pa.StructArray.from_arrays([rows[name] for name in columns], [*columns]) if columns else None
    return pa.array(_cells(struct, exact) if struct else ["{}"] * rows.num_rows, pa.string())


def _cells(array: pa.Array, exact: bool) -> list[str]:
    valid = array.is_valid().to_pylist()
    return [text if known else "null" for text, known in zip(_texts(array, exact), valid, strict=True)]


def _texts(array: pa.Array, exact: bool) -> list[str]:
    """JSON of each value; any text for NULL."""
    t, kind = pa.types, array.type
    if t.is_struct(kind):
        names = [quoted(field.name) for field in kind]
        cells = [_cells(array.field(i), exact) for i in range(kind.num_fields)]
        return ["{" + ",".join(map("{}:{}".format, names, row)) + "}" for row in zip(*cells, strict=True)]
    if t.is_map(kind):
        pairs = pc.cast(array, pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        entries = pairs.values
        keys = [text if text.startswith('"') else f'"{text}"' for text in _cells(entries.field(0), exact)]
        return _joined(pairs, list(map("{}:{}".format, keys, _cells(entries.field(1), exact))), "{{{}}}".format)
    if t.is_list(kind):
        return _joined(array, _cells(array.values, exact), "[{}]".format)
    if t.is_floating(kind):
        texts = value_texts(array).to_pylist()
        return [quoted(text) if text and text[-1] in "Ny" else str(text) for text in texts]
    if t.is_decimal(kind):
        return [str(value) for value in array.to_pylist()]
    if t.is_boolean(kind) or t.is_integer(kind) or t.is_null(kind):
        return [str(text) for text in array.cast(pa.string()).to_pylist()]
    return [quoted(text or "") for text in _plain_texts(array, exact)]


def _plain_texts(array: pa.Array, exact: bool) -> list[Any]:
    if pa.types.is_binary(array.type):
        return [base64.b64encode(value or b"").decode() for value in array.to_pylist()]
    if pa.types.is_timestamp(array.type):
        times = array.cast(pa.timestamp("us"))
        times = times if exact else pc.floor_temporal(times, unit="millisecond").cast(pa.timestamp("ms"))
        texts = pc.strftime(times, "%Y-%m-%dT%H:%M:%S")
        return [text and text + "Z" * (array.type.tz is not None) for text in texts.to_pylist()]
    return value_texts(array).to_pylist()  # type: ignore[no-any-return]


def _joined(lists: Any, cells: Sequence[str], form: Callable[[str], str]) -> list[str]:
    offsets = lists.offsets.to_pylist()
    return [form(",".join(cells[start:end])) for start, end in pairwise(offsets)]


def quoted(text: str) -> str:
    """A text as a JSON string."""
    return f'"{text.translate(_ESCAPES)}"'
