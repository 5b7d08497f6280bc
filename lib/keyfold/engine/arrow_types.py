"""Converts between Arrow types and Spark's names of types."""

import re
from collections.abc import Iterator

import pyarrow as pa

_PLAIN = {
    "boolean": pa.bool_(), "tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64(),
    "float": pa.float32(), "double": pa.float64(), "string": pa.string(), "binary": pa.binary(), "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"), "timestamp_ntz": pa.timestamp("us"), "void": pa.null(),
}  # fmt: skip
_NAMES = {type_: name for name, type_ in _PLAIN.items()}


def type_name(type_: pa.DataType) -> str:
    """Spark's name of an Arrow type, such as `bigint` or `array<string>`; Arrow's own name if Spark has no such type."""
    t = pa.types
    if t.is_timestamp(type_):
        return "timestamp" if type_.tz else "timestamp_ntz"
    if t.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    if t.is_map(type_):
        return f"map<{type_name(type_.key_type)},{type_name(type_.item_type)}>"
    if t.is_list(type_) or t.is_large_list(type_):
        return f"array<{type_name(type_.value_type)}>"
    if t.is_struct(type_):
        return f"struct<{','.join(f'{field.name}:{type_name(field.type)}' for field in type_)}>"
    if t.is_large_string(type_) or t.is_string_view(type_):
        return "string"
    return _NAMES.get(type_, str(type_))


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a Spark type name (ValueError for a struct and for an unknown name)."""
    kind, _, rest = name.strip().partition("<")
    if kind == "array":
        return pa.list_(arrow_type(rest[:-1]))
    if kind == "map":
        key, value = _split(rest[:-1])
        return pa.map_(arrow_type(key), arrow_type(value))
    if decimal := re.fullmatch(r"decimal\((\d+), ?(\d+)\)", name.strip()):
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if kind not in _PLAIN:
        raise ValueError(f"no Arrow type for `{name}`")
    return _PLAIN[kind]


def arrow_schema(ddl: str) -> pa.Schema:
    """The schema of columns in Spark's notation: `name type, name type`."""
    return pa.schema([(name, arrow_type(type_)) for name, type_ in (column.split(maxsplit=1) for column in _split(ddl))])


def _split(text: str) -> Iterator[str]:
    """Splits at commas outside brackets."""
    depth, start = 0, 0
    for at, char in enumerate(text):
        depth += (char in "<(") - (char in ">)")
        if char == "," and not depth:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()


def without_views(type_: pa.DataType) -> pa.DataType:
    """The type with plain texts and binaries in place of views, which pandas cannot take within lists and maps."""
    t = pa.types
    if t.is_string_view(type_):
        return pa.string()
    if t.is_binary_view(type_):
        return pa.binary()
    if t.is_map(type_):
        return pa.map_(without_views(type_.key_type), without_views(type_.item_type))
    if t.is_list(type_) or t.is_large_list(type_):
        return pa.list_(without_views(type_.value_type))
    if t.is_struct(type_):
        return pa.struct([field.with_type(without_views(field.type)) for field in type_])
    return type_
