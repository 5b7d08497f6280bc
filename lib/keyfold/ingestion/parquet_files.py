"""Reads Parquet files: by Spark, or by Arrow if Spark refuses or cuts values; nanoseconds as microseconds, folders as columns."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from keyfold.conf.columns import DeclaredColumn, check_folders, check_names, origins
from keyfold.core.names import FILE, RAW, REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.errors import DataError, suggestion
from keyfold.ingestion import casts
from keyfold.ingestion.source_rows import EXACT_JSON, SourceRows, escape_glob, source_file
from keyfold.readers import parquet
from keyfold.readers.casts import TextFormat
from keyfold.readers.opening import UNREADABLE
from keyfold.readers.paths import local_files, local_path, partition_columns, refuse_escapes
from keyfold.readers.rows import FolderColumns, repeat_text

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_FOLDERS_AS_TEXT = {"spark.sql.sources.partitionColumnTypeInference.enabled": "false"}


def read_parquet(
    spark: "SparkSession", path: str, wanted: Mapping[str, DeclaredColumn], format_: TextFormat, files: Sequence[str] = ()
) -> SourceRows:
    """The rows of Parquet files (DataError if their columns differ, or have a type that is not read)."""
    names = [*files] or local_files(path) or []
    schema = parquet_schema(names)
    folders = [*next(iter(partition_columns(path, names).values()))] if names else []
    refuse_escapes([*map(os.path.dirname, names)])
    check_folders(names[0] if names else path, schema.names, folders)
    if repeated := next((n for n, times in Counter(map(str.casefold, schema.names)).items() if times > 1), None):
        raise DataError(f"{names[0]} has several columns `{repeated}`, which Spark takes for one name; rename one")
    nanos = [field for field in schema if pa.types.is_timestamp(field.type) and field.type.unit == "ns"]
    if any(parquet.needs_arrow(file) for file in names if local_path(file)):
        loaded = _load_by_arrow(spark, names, partition_columns(path, names), [field.name for field in nanos])
    else:
        loaded = _load(spark, path, files, nanos)
    columns, renamed = loaded.columns, origins(wanted)
    check_names(path, columns, wanted)
    if absent := next((origin for origin in renamed if origin not in columns), None):
        raise DataError(f"data.columns.{renamed[absent]}: {path} has no column `{absent}`{suggestion(absent, columns)}")
    # In one projection, because columns of the files may be named as those that are added.
    lossy = [F.when(lossy, F.lit(parquet.LOSES_NANOSECONDS.format(renamed.get(c, c)))) for c, lossy in loaded.lossy.items()]
    reason = F.coalesce(*lossy, F.lit(None).cast("string"))
    raw = F.to_json(F.struct(*map(col, columns)), EXACT_JSON)
    if loaded.texts:
        texts = {c: F.coalesce(text, col(c).cast("string")).alias(c) for c, text in loaded.texts.items()}
        whole = F.to_json(F.struct(*(texts.get(c, col(c)) for c in columns)), EXACT_JSON)
        raw = F.when(reason.isNotNull(), whole).otherwise(raw)
    values = [loaded.values.get(c, col(c)).alias(renamed.get(c, c)) for c in columns]
    rows = loaded.rows.select(*values, raw.alias(RAW), loaded.file.alias(FILE), reason.alias(REASON))
    return SourceRows(_cast_folders(path, rows, wanted, folders, format_), col(REASON), col(RAW))


class _Loaded(NamedTuple):
    """Rows, their columns and file; by column of nanoseconds: its value, whether that would lose digits, and then its text."""

    rows: "DataFrame"
    columns: list[str]
    file: "Column"
    values: "Mapping[str, Column]"
    lossy: "Mapping[str, Column]"
    texts: "Mapping[str, Column]"


def _load(spark: "SparkSession", path: str, files: Sequence[str], nanos: Sequence[pa.Field]) -> _Loaded:
    from keyfold.engine.session import temporary_settings

    if nanos:  # set for the rest of the session, because rows are read lazily
        spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    with temporary_settings(spark, _FOLDERS_AS_TEXT):
        local = local_path(path)
        folder = os.path.abspath(local) if files and local and Path(local).is_dir() else None  # noqa: PTH100 - links stay
        reader = spark.read.option("basePath", folder) if folder else spark.read
        rows = reader.format("parquet").load([*map(escape_glob, files)] or path)
    values = {field.name: _microseconds(field) for field in nanos}
    return _Loaded(rows, rows.columns, source_file(rows), values, {f.name: col(f.name) % 1000 != 0 for f in nanos}, {})


def _microseconds(field: pa.Field) -> "Column":
    """Nanoseconds, which Spark reads as a number, as a time of microseconds; NULL if digits would be lost."""
    at = F.timestamp_micros(F.when(col(field.name) % 1000 == 0, F.call_function("div", col(field.name), F.lit(1000))))
    return at if field.type.tz else at.cast("timestamp_ntz")


_OWN = "keyfold_read_"  # begins the names of columns that the workers add


def _load_by_arrow(
    spark: "SparkSession", files: Sequence[str], folders: Mapping[str, FolderColumns], nanos: Sequence[str]
) -> _Loaded:
    """The rows of local files, which Arrow reads in the workers, by row groups."""
    import pyarrow.parquet as pq
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = parquet.plain_schema(files[0])
    own = {c: f"{_OWN}{i}" for i, c in enumerate(nanos)}
    texts = [*next(iter(folders.values())), f"{_OWN}file", *own.values()]
    whole = pa.schema([*schema, *((name, pa.string()) for name in texts)])
    tasks = [(file, group) for file in files for group in range(pq.ParquetFile(file).num_row_groups)]
    read = partial(_read_tasks, tasks, folders, whole, nanos)
    ids = spark.range(0, len(tasks), 1, max(len(tasks), 1))
    rows = ids.mapInArrow(read, from_arrow_schema(whole, prefer_timestamp_ntz=True))
    lossy = {c: col(name).isNotNull() for c, name in own.items()}
    columns = [*schema.names, *next(iter(folders.values()))]
    return _Loaded(rows, columns, col(f"{_OWN}file"), {}, lossy, {c: col(name) for c, name in own.items()})


def _read_tasks(
    tasks: Sequence[tuple[str, int]], folders: Mapping[str, FolderColumns], schema: pa.Schema, nanos: Sequence[str],
    batches: "Iterator[pa.RecordBatch]",
) -> "Iterator[pa.RecordBatch]":  # fmt: skip
    for batch in batches:
        for file, group in (tasks[i] for i in batch.column(0).to_pylist()):
            for rows, lost in parquet.read_plain(file, [group]):
                n = rows.num_rows
                added = [*(repeat_text(value, n) for value in (*folders[file].values(), os.path.abspath(file)))]  # noqa: PTH100
                texts = [lost.get(c, pa.nulls(n, pa.string())) for c in nanos]
                values = [values.cast(field.type) for values, field in zip(rows.columns, schema, strict=False)]
                yield pa.RecordBatch.from_arrays([*values, *added, *texts], schema=schema)


def _cast_folders(
    path: str, rows: "DataFrame", wanted: Mapping[str, DeclaredColumn], folders: Sequence[str], format_: TextFormat
) -> "DataFrame":
    """Casts the columns of folders to their declared types (DataError if a renamed column is not of the type that the conf gives)."""
    types = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    for name, column in wanted.items():
        if column.name in folders:
            text = casts.iso_text(col(name), column.type, column.format) if column.format else col(name)
            value = casts.cast_text(text, column.type, format_)
            wrong = F.when(value.isNull() & col(name).isNotNull(), casts.why_not(f"`{name}`", text, column.type, column.declared))
            rows = rows.withColumns({name: value, REASON: F.coalesce(col(REASON), wrong)})
        elif column.name != name and types[name] != column.declared:
            raise DataError(f"data.columns.{name}: `{column.name}` of {path} is {types[name]}, not {column.declared}")
    return rows


def parquet_schema(files: Sequence[str]) -> pa.Schema:
    """The columns of local files (DataError if they differ, or have a type that is not read); remote files are skipped."""
    import pyarrow.parquet as pq

    first: pa.Schema | None = None
    for file in files:
        if local_path(file) is None:
            continue
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} {UNREADABLE}") from error
        if first is None:
            check_types(file, schema)
            first = schema
        types, first_types = ({field.name: str(field.type) for field in fields} for fields in (schema, first))
        if odd := sorted(dict(types.items() ^ first_types.items())):
            raise DataError(
                f"{file} has different columns from {files[0]}: `{'`, `'.join(odd)}`; declare each layout as one of data.versions"
            )
    return first if first is not None else pa.schema([])


def check_types(file: str, schema: pa.Schema) -> None:
    """DataError for a column of a type that is not read."""
    for field in schema:
        nested = _inner_types(field.type)
        for inner in nested:
            if kind := _unread_kind(inner, within=len(nested) > 1):
                raise DataError(
                    f"{file}: the column `{field.name}` is {kind}, which is not supported; write it as {_INSTEAD[kind]}"
                )


_INSTEAD = {
    "a time of day within another type": "text",
    "a UUID within another type": "text",
    "a number of 16 bits within another type": "a float",
    "a decimal of more than 38 digits": "text, or a decimal of fewer digits",
    "an interval": "a number",
    "a time of nanoseconds within another type": "a column of its own",
    "NULL throughout, without a type": "a column of some type",
}


def _unread_kind(type_: pa.DataType, *, within: bool) -> str | None:
    """The key of `_INSTEAD` for a type that is not read; `within`: inside another type."""
    t = pa.types
    tests = {
        "a time of day within another type": within and t.is_time(type_),
        "a UUID within another type": within and parquet.is_uuid(type_),
        "a number of 16 bits within another type": within and t.is_float16(type_),
        "a decimal of more than 38 digits": t.is_decimal256(type_) and type_.precision > 38,
        "an interval": t.is_interval(type_) or t.is_duration(type_),
        "a time of nanoseconds within another type": within and t.is_timestamp(type_) and type_.unit == "ns",
        "NULL throughout, without a type": t.is_null(type_),
    }
    return next((kind for kind, matches in tests.items() if matches), None)


def _inner_types(type_: pa.DataType) -> list[pa.DataType]:
    """A type and those within it."""
    children = [type_.field(i).type for i in range(type_.num_fields)] if type_.num_fields else []
    children += [type_.value_type] if pa.types.is_dictionary(type_) else []
    return [type_, *(inner for child in children for inner in _inner_types(child))]
