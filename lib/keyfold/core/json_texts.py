"""Rows as the JSON that Spark's `to_json` writes, with fields that are NULL and the time zone UTC.

`exact` JSON writes times with microseconds, other JSON with milliseconds.
"""

import base64
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import sql
from keyfold.core.texts import value_texts

_SHORT = {"\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\"}
_ESCAPES = str.maketrans({chr(c): f"\\u{c:04X}" for c in range(32)} | _SHORT)
_SPECIAL = r'["\\\x00-\x1f]'
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
    return _objects(columns, [_cells(rows[name], exact) for name in columns], rows.num_rows)


def text_jsons(names: Sequence[str], texts: Sequence[pa.Array]) -> pa.Array:
    """An object for each row of columns of text."""
    return _objects(names, [_quoted_texts(text) for text in texts], len(texts[0]))


def quoted(text: str) -> str:
    """A text as a JSON string."""
    return f'"{text.translate(_ESCAPES)}"'


def _objects(names: Sequence[str], cells: Sequence[pa.Array], n: int) -> pa.Array:
    if not names:
        return pa.repeat("{}", n)
    parts: list[str | pa.Array] = []
    for i, (name, cell) in enumerate(zip(names, cells, strict=True)):
        parts += [f"{',' if i else '{'}{quoted(name)}:", cell.fill_null("null")]
    return pc.binary_join_element_wise(*parts, "}", "")


def _cells(array: pa.Array, exact: bool) -> pa.Array:
    """JSON of each value; NULL for NULL."""
    t, kind = pa.types, array.type
    if t.is_struct(kind):
        fields = [array.field(i) for i in range(kind.num_fields)]
        objects = _objects([field.name for field in kind], [_cells(field, exact) for field in fields], len(array))
        return _known(array, objects)
    if t.is_map(kind):
        pairs = pc.cast(array, pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        keys, values = (_cells(pairs.values.field(i), exact) for i in (0, 1))
        keys = pc.if_else(pc.starts_with(keys, '"'), keys, _enclosed('"', keys, '"'))
        return _joined("{", pairs, pc.binary_join_element_wise(keys, values.fill_null("null"), ":"), "}")
    if t.is_list(kind):
        return _joined("[", array, _cells(array.values, exact).fill_null("null"), "]")
    if t.is_floating(kind):
        texts = value_texts(array)
        return pc.if_else(pc.match_substring_regex(texts, "[Ny]$"), _enclosed('"', texts, '"'), texts)
    if t.is_decimal(kind):
        encoded = array.dictionary_encode()
        return pa.array(map(str, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)
    if t.is_boolean(kind) or t.is_integer(kind) or t.is_null(kind):
        return array.cast(pa.string())
    if t.is_string(kind):
        return _quoted_texts(array)
    return _enclosed('"', _plain_texts(array, exact), '"')


def _plain_texts(array: pa.Array, exact: bool) -> pa.Array:
    """Values as text without characters that JSON escapes."""
    if pa.types.is_binary(array.type):
        return pa.array([value and base64.b64encode(value).decode() for value in array.to_pylist()], pa.string())
    if not pa.types.is_timestamp(array.type):
        return value_texts(array)
    times = array.cast(pa.timestamp("us"))
    times = times if exact else pc.floor_temporal(times, unit="millisecond").cast(pa.timestamp("ms"))
    texts = pc.strftime(times, "%Y-%m-%dT%H:%M:%S")
    return _enclosed("", texts, "Z") if array.type.tz else texts


def _quoted_texts(texts: pa.Array) -> pa.Array:
    plain, special = _enclosed('"', texts, '"'), pc.match_substring_regex(texts, _SPECIAL).fill_null(False)
    if not pc.any(special).as_py():
        return plain
    few = texts.filter(special).dictionary_encode()
    return pc.replace_with_mask(plain, special, pa.array(map(quoted, few.dictionary.to_pylist()), pa.string()).take(few.indices))


def _joined(begin: str, lists: pa.Array, cells: pa.Array, end: str) -> pa.Array:
    """The cells of each list, between commas."""
    return _known(lists, _enclosed(begin, pc.binary_join(pa.ListArray.from_arrays(lists.offsets, cells), ","), end))


def _enclosed(begin: str, texts: pa.Array, end: str) -> pa.Array:
    return pc.binary_join_element_wise(begin, texts, end, "")


def _known(array: pa.Array, texts: pa.Array) -> pa.Array:
    """The texts, but NULL where the array is."""
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string()))
