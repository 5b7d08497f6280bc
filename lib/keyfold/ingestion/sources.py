"""Reading what is to be ingested: text by keyfold's own readers, with an explicit schema; Parquet and Delta as they are; images."""

import codecs
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.conf.columns import Columns, DeclaredColumn, declared_columns, is_own, origins
from keyfold.conf.csv import CsvOptions
from keyfold.core.names import FILE, LINE, LINE_REASON, LINE_TEXT, RAW, REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.ingestion import casts, parquet_files, text_files
from keyfold.ingestion.source_rows import EXACT_JSON, SourceRows, escape_glob, source_file
from keyfold.ingestion.text_files import check_header
from keyfold.readers.form import TextForm
from keyfold.readers.opening import plain_name
from keyfold.readers.paths import local_files, local_path, partition_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def format_of(path: str) -> str:
    """csv, json, parquet, delta or images, by the name (and, for a local folder, by what is in it)."""
    if (Path(local_path(path) or path) / "_delta_log").is_dir():
        return "delta"
    name = plain_name(_first_of(path))
    if name.endswith((".json", ".jsonl", ".ndjson")):
        return "json"
    if name.endswith(IMAGES):
        return "images"
    return "parquet" if name.endswith(".parquet") else "csv"


def delimiter_of(path: str, csv: CsvOptions | None) -> str:
    """The delimiter that the conf says, or the tab of a .tsv file."""
    return (csv and csv.delimiter) or ("\t" if plain_name(_first_of(path)).endswith((".tsv", ".tab")) else ",")


def _first_of(path: str) -> str:
    """The first file of a local folder; any other source itself."""
    return next(iter(local_files(path) or ()), path) if Path(local_path(path) or path).is_dir() else path


def text_form(path: str, csv: CsvOptions | None, names: Sequence[str] = ()) -> TextForm:
    """How a source of text is written; `names` are the keys that are wanted of JSON lines."""
    if format_of(path) == "json":
        return TextForm("json", tuple(names))
    how, encoding = csv or CsvOptions(), codecs.lookup((csv or CsvOptions()).encoding).name
    return TextForm("csv", (), delimiter_of(path, csv), how.quote, how.escape, how.multi_line, encoding, tuple(how.null_values))


def csv_header(file: str, path: str, csv: CsvOptions | None) -> list[str]:
    """The names of a local CSV file of a source (DataError where it has none)."""
    return text_files.local_text_files([file], text_form(path, csv), guess=csv is None or csv.delimiter is None).names


def read_source(
    spark: "SparkSession",
    path: str,
    columns: Columns,
    csv: CsvOptions | None,
    files: Sequence[str] = (),
    zone: str | None = None,
) -> SourceRows:
    """The rows of a source, or of some of its files (DataError for an empty file or another header)."""
    kind = format_of(path)
    if kind == "parquet":
        return parquet_files.read_parquet(spark, path, declared_columns(columns), text_format(csv, zone), files)
    if kind == "delta":
        rows = spark.read.format(kind).load(path)
        own = [name for name in rows.columns if is_own(name)]
        notes = (
            [f"{path}: {', '.join(map('`{}`'.format, own))} are keyfold's own columns of that table, and left out"] if own else []
        )
        rows = rows.drop(*own)
        raw = F.to_json(F.struct(*map(col, rows.columns)), EXACT_JSON)
        return SourceRows(rows.withColumn(FILE, F.lit(path)), F.lit(None).cast("string"), raw, notes)
    if kind == "images":
        others = [name for name in [*files] or local_files(path) or [] if not name.lower().endswith(IMAGES)]
        said = (
            f"{path}: {len(others):,} files are no pictures by their names, such as {min(others)}; they are left out"
            if others
            else ""
        )
        return _images(spark, [*map(escape_glob, files)] or [path])._replace(notes=[said] * bool(said))
    return _text(spark, path, columns, csv, files, zone)


def _text(
    spark: "SparkSession", path: str, columns: Columns, csv: CsvOptions | None, files: Sequence[str], zone: str | None
) -> SourceRows:
    here = local_files(path)
    guess = csv is None or csv.delimiter is None
    wanted = declared_columns(columns)
    form = text_form(path, csv, [column.name for column in wanted.values()])
    if here is None:
        found = text_files.remote_text_files(spark, [*map(escape_glob, files)] or [path], form, guess=guess)
    else:
        found = text_files.local_text_files([*files] or [*map(os.path.abspath, here)], form, guess=guess)
    folders = partition_columns(path, [*found.heads])
    if form.kind == "json":
        first = next(iter(folders.values()), {})
        found = found.wanting([column.name for column in wanted.values() if column.name not in first])
    check_header(found, folders, wanted)
    return _typed(found.frame(spark, folders, origins(wanted)), wanted, text_format(csv, zone), found.notes())


def _images(spark: "SparkSession", paths: Sequence[str]) -> SourceRows:
    """A row a picture: `path` (its folder and its name), `folder` (where each class has one, the class) and `image`, its bytes."""
    files = spark.read.format("binaryFile").load([*paths])
    files = files.withColumn(FILE, source_file(files)).where(F.lower(FILE).rlike(rf"({'|'.join(map(re.escape, IMAGES))})$"))
    names = F.split(FILE, "/")
    rows = files.select(
        F.array_join(F.slice(names, -2, 2), "/").alias("path"), F.element_at(names, -2).alias("folder"),
        F.col("content").alias("image"), FILE,
    )  # fmt: skip
    return SourceRows(rows, F.lit(None).cast("string"), F.to_json(F.struct("path")))


def text_format(csv: CsvOptions | None, zone: str | None) -> casts.TextFormat:
    """How text writes numbers and times."""
    return casts.TextFormat(csv.decimal if csv else ".", csv.thousands if csv else "", zone)


def _typed(rows: "DataFrame", wanted: Mapping[str, DeclaredColumn], how: casts.TextFormat, notes: Sequence[str]) -> SourceRows:
    names = [c for c in rows.columns if c not in (FILE, LINE, LINE_TEXT, LINE_REASON)]
    table = {name: wanted.get(name, DeclaredColumn("string", None, name, "string")) for name in names}
    plain = {n: casts.iso_text(col(n), c.type, c.format) if c.format else col(n) for n, c in table.items()}
    cast = {n: casts.cast_text(plain[n], c.type, how) for n, c in table.items()}
    wrong = [
        F.when(cast[n].isNull() & (casts.trim(col(n)) != ""), casts.why_not(f"`{n}`", plain[n], c.type, c.declared))
        for n, c in table.items()
        if c.type != "string"
    ]
    values = F.to_json(F.struct(*(col(n).alias(c.name) for n, c in table.items())), {"ignoreNullFields": "false"})
    clocks = casts.clock_faults({n: plain[n] for n, c in table.items() if c.type == "timestamp"}, how.zone)
    kept = rows.select(
        *(value.alias(n) for n, value in cast.items()),
        F.coalesce(col(LINE_REASON), *wrong, F.lit(None)).alias(REASON),
        F.coalesce(col(LINE_TEXT), values).alias(RAW), FILE, LINE, *(value.alias(name) for name, value in clocks.items()),
    )  # fmt: skip
    return SourceRows(kept, col(REASON), col(RAW), notes)
