"""Reads the files of a source: CSV and JSON lines by keyfold's readers, Parquet, Delta, and images."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keyfold.conf.columns import Columns, DeclaredColumn, declared_columns, is_own, origins
from keyfold.conf.csv import CsvOptions
from keyfold.core.names import FILE, RAW, REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine.engine import Engine, SparkEngine
from keyfold.engine.frame import Frame
from keyfold.engine.spark_frame import data_of
from keyfold.ingestion import parquet_files, text_files
from keyfold.ingestion.source_rows import EXACT_JSON, SourceRows, escape_glob, source_file
from keyfold.readers.casts import TextFormat
from keyfold.readers.formats import IMAGES, default_delimiter, format_of
from keyfold.readers.paths import local_files, partition_columns
from keyfold.readers.text_form import TextForm
from keyfold.readers.typed_rows import RowTypes, TextColumn

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def text_form(path: str, csv: CsvOptions | None, names: Sequence[str] = ()) -> TextForm:
    """The form of a text source; `names` are the keys to read from JSON lines."""
    if format_of(path) == "json":
        return TextForm("json", tuple(names))
    return (csv or CsvOptions()).form(default_delimiter(path))


def read_source(
    spark: "SparkSession",
    path: str,
    columns: Columns,
    csv: CsvOptions | None,
    files: Sequence[str] = (),
    zone: str | None = None,
    needed: Sequence[str] | None = None,
) -> SourceRows:
    """The rows of a source, or of some of its files, in Spark (DataError for an empty file or another header).

    needed: see `read_text`.
    """
    kind = format_of(path)
    if kind == "parquet":
        return parquet_files.read_parquet(spark, path, declared_columns(columns), (csv or CsvOptions()).text_format(zone), files)
    if kind == "delta":
        return _read_delta(spark, path)
    if kind == "images":
        return _read_images(spark, path, files)
    rows, notes = read_text(SparkEngine(spark), path, columns, csv, files, zone, needed)
    return SourceRows(data_of(rows), col(REASON), col(RAW), notes)


def _read_delta(spark: "SparkSession", path: str) -> SourceRows:
    rows = spark.read.format("delta").load(path)
    own = [name for name in rows.columns if is_own(name)]
    note = f"{path}: {', '.join(map('`{}`'.format, own))} are keyfold's own columns of that table, and left out"
    rows = rows.drop(*own)
    raw = F.to_json(F.struct(*map(col, rows.columns)), EXACT_JSON)
    return SourceRows(rows.withColumn(FILE, F.lit(path)), F.lit(None).cast("string"), raw, [note] * bool(own))


def _read_images(spark: "SparkSession", path: str, files: Sequence[str]) -> SourceRows:
    """A row per image: `path` (folder and name), `folder` (its class, if each class has a folder) and `image`, its bytes."""
    others = [name for name in [*files] or local_files(path) or [] if not name.lower().endswith(IMAGES)]
    notes = [
        f"{path}: {len(others):,} files have no suffix of an image, such as {min(others)}; they are left out"
    ] if others else []  # fmt: skip
    images = spark.read.format("binaryFile").load([*map(escape_glob, files)] or [path])
    images = images.withColumn(FILE, source_file(images)).where(F.lower(FILE).rlike(rf"({'|'.join(map(re.escape, IMAGES))})$"))
    parts = F.split(FILE, "/")
    rows = images.select(
        F.array_join(F.slice(parts, -2, 2), "/").alias("path"), F.element_at(parts, -2).alias("folder"),
        F.col("content").alias("image"), FILE,
    )  # fmt: skip
    return SourceRows(rows, F.lit(None).cast("string"), F.to_json(F.struct("path")), notes)


def read_text(
    engine: Engine, path: str, columns: Columns, csv: CsvOptions | None, files: Sequence[str] = (), zone: str | None = None,
    needed: Sequence[str] | None = None,
) -> tuple[Frame, list[str]]:  # fmt: skip
    """Typed rows of CSV or JSON lines with REASON, RAW, FILE and LINE, and notes (DataError for an empty file or another header).

    needed: if given, only rows with a reason, or without a value in one of these columns, have their raw text.
    """
    local = local_files(path)
    guess = csv is None or csv.delimiter is None
    wanted = declared_columns(columns)
    form = text_form(path, csv, [column.name for column in wanted.values()])
    if local is None:
        texts = text_files.remote_text_files(engine.spark, [*map(escape_glob, files)] or [path], form, guess=guess)
    else:
        texts = text_files.local_text_files([*files] or [*map(os.path.abspath, local)], form, guess=guess)
    folders = partition_columns(path, [*texts.heads])
    if form.kind == "json":
        in_folders = next(iter(folders.values()), {})
        texts = texts.with_keys([column.name for column in wanted.values() if column.name not in in_folders])
    text_files.check_header(texts, folders, wanted)
    types = row_types([*texts.names, *next(iter(folders.values()))], wanted, (csv or CsvOptions()).text_format(zone), needed)
    return texts.frame(engine, folders, types), texts.notes()


def row_types(
    names: Sequence[str], wanted: Mapping[str, DeclaredColumn], format_: TextFormat, needed: Sequence[str] | None
) -> RowTypes:
    """The types of a source's columns, in their order in the files; those that are not declared are text."""
    renamed = origins(wanted)
    columns = [(renamed.get(name, name), name) for name in names]
    declared = [(name, wanted.get(name, DeclaredColumn("string", None, origin, "string"))) for name, origin in columns]
    return RowTypes([TextColumn(name, c.type, c.format, c.name, c.declared) for name, c in declared], format_, needed)
