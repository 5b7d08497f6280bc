"""Reads Parquet files with types that engines lack or change: as types that they have, without loss."""

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keyfold.errors import DataError

LOSES_NANOSECONDS = "`{}` has nanoseconds, and a time holds microseconds"
_GREGORIAN = dt.date(1582, 10, 15)
_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)], "S2").view(np.uint8).reshape(256, 2)
_PLAIN = {
    pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20), pa.float16(): pa.float32(),
    pa.date64(): pa.date32(), pa.large_string(): pa.string(), pa.string_view(): pa.string(), pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
}  # fmt: skip


class PlainRows(NamedTuple):
    """Rows in plain types. By column of nanoseconds, `lost`: the text of times that have some and are NULL in the rows (else NULL)."""

    rows: pa.RecordBatch
    lost: dict[str, pa.Array]
    nanos: dict[str, pa.Array]  # int64: nanoseconds since 1970


def is_uuid(type_: pa.DataType) -> bool:
    """Whether values are UUIDs."""
    return getattr(type_, "extension_name", "") == "arrow.uuid"


class FileForm(NamedTuple):
    """What a file says of itself: its columns, those that are times of 96 bits, and the number of its row groups."""

    schema: pa.Schema
    int96: list[str]
    groups: int

    @classmethod
    def of(cls, content: pq.ParquetFile) -> "FileForm":
        """The form of an open file."""
        columns = [content.schema.column(i) for i in range(len(content.schema.names))]
        top = {*content.schema_arrow.names}
        int96 = [column.path for column in columns if column.physical_type == "INT96" and column.path in top]
        return cls(content.schema_arrow, int96, content.num_row_groups)

    @property
    def plain(self) -> pa.Schema:
        """The columns in plain types."""
        return pa.schema([(f.name, plain_type(f.type, is_instant=f.name in self.int96)) for f in self.schema])

    @property
    def has_rare_types(self) -> bool:
        """Whether there is a type that Spark's own reader refuses or truncates: a time of day, UUID, half float or time of 96 bits."""
        return bool(self.int96) or any(pa.types.is_time(t) or is_uuid(t) or pa.types.is_float16(t) for t in self.schema.types)


def read_form(file: str) -> FileForm:
    """The form of a file."""
    return FileForm.of(pq.ParquetFile(file))


def plain_type(type_: pa.DataType, *, is_instant: bool = False) -> pa.DataType:
    """The type that holds the values of a type in any engine; `is_instant`: whether a time without a zone is in UTC."""
    t = pa.types
    if t.is_dictionary(type_):
        return plain_type(type_.value_type)
    if t.is_time(type_) or is_uuid(type_):
        return pa.string()
    if isinstance(type_, pa.BaseExtensionType):
        return plain_type(type_.storage_type)
    if t.is_decimal(type_):
        return pa.decimal128(type_.precision, type_.scale)
    if t.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz or is_instant else None)
    if t.is_fixed_size_binary(type_):
        return pa.binary()
    if t.is_struct(type_):
        return pa.struct([pa.field(f.name, plain_type(f.type), f.nullable) for f in type_])
    if t.is_map(type_):
        return pa.map_(plain_type(type_.key_type), plain_type(type_.item_type))
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return pa.list_(plain_type(type_.value_type))
    return _PLAIN.get(type_, type_)


def read_plain(file: str, groups: list[int] | None = None, size: int = 1 << 16) -> Iterator[PlainRows]:
    """The rows of a file, or of some of its row groups, in plain types: a time of day and a UUID as text."""
    content = pq.ParquetFile(file)
    form = FileForm.of(content)
    schema, int96 = form.plain, form.int96
    batches = content.iter_batches(size, row_groups=groups)
    is_julian = _may_be_julian(content.metadata.metadata or {})
    # Times of 96 bits reach beyond the range of nanoseconds in 64 bits: they are read as microseconds, too.
    coarse = pq.ParquetFile(file, coerce_int96_timestamp_unit="us") if int96 else None
    coarse_batches = coarse.iter_batches(size, row_groups=groups, columns=int96) if coarse else None
    for batch in batches:
        micros = next(coarse_batches) if coarse_batches else None
        columns, lost, nanos = [], {}, {}
        for field, values in zip(schema, batch.columns, strict=True):
            if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
                known = micros.column(field.name) if micros and field.name in int96 else None
                nanos[field.name] = values.view(pa.int64())
                values, lost[field.name] = _microseconds(values, known, field.type)  # noqa: PLW2901
            columns.append(_plain(values, field.type))
        rows = pa.RecordBatch.from_arrays(columns, schema=schema)
        if is_julian:
            _refuse_julian(file, rows)
        yield PlainRows(rows, lost, nanos)


def _may_be_julian(metadata: dict[bytes, bytes]) -> bool:
    """Whether days before 1582-10-15 are those of the Julian calendar."""
    return metadata.get(b"org.apache.spark.version", b"3") < b"3" or b"org.apache.spark.legacyDateTime" in metadata


def _refuse_julian(file: str, rows: pa.RecordBatch) -> None:
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
            first = pc.min(values.cast(pa.date32(), safe=False)).as_py()
            if first and first < _GREGORIAN:
                raise DataError(
                    f"{file}: the column `{name}` has days before {_GREGORIAN}, which Spark wrote by the Julian calendar; write the file "
                    "again by Spark 3 or later"
                )


def _microseconds(nanos: pa.Array, micros: pa.Array | None, type_: pa.DataType) -> tuple[pa.Array, pa.Array]:
    """Times without the nanoseconds, NULL if they have some, and the text of those."""
    exact = np.asarray(pc.fill_null(nanos.view(pa.int64()), 0))
    whole = exact // 1000 if micros is None else np.asarray(pc.fill_null(micros.cast(pa.timestamp("us")).view(pa.int64()), 0))
    rest = exact - whole * 1000  # in 64 bits, as Arrow counts beyond them
    is_lost = (rest != 0) & np.asarray(nanos.is_valid())
    cut = pa.array(whole, mask=~np.asarray(nanos.is_valid())).view(pa.timestamp("us"))
    digits = pc.utf8_lpad(pa.array(rest).cast(pa.string()), 3, "0")
    text = pc.binary_join_element_wise(cut.cast(pa.string()), digits, "")
    nothing = pa.scalar(None, pa.string())
    values = pc.if_else(pa.array(is_lost), pa.scalar(None, cut.type), cut)
    return values.view(pa.int64()).view(type_), pc.if_else(pa.array(is_lost), text, nothing)


def _plain(values: pa.Array, type_: pa.DataType) -> pa.Array:
    if is_uuid(values.type):
        return _uuid_texts(values.storage)
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    return values.cast(type_)


def _uuid_texts(values: pa.Array) -> pa.Array:
    texts = np.full((len(values), 36), ord("-"), np.uint8)
    raw = np.frombuffer(b"".join(value or bytes(16) for value in values.to_pylist()), np.uint8)
    dashes = [8, 13, 18, 23]
    texts[:, np.setdiff1d(np.arange(36), dashes)] = _HEX[raw].reshape(len(values), 32)
    ends = pa.py_buffer(np.arange(0, 36 * len(values) + 1, 36, dtype=np.int32))
    uuids = pa.Array.from_buffers(pa.string(), len(values), [None, ends, pa.py_buffer(texts)])
    return pc.if_else(values.is_valid(), uuids, pa.scalar(None, pa.string()))
