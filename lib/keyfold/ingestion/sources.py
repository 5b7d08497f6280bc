"""Reading what is to be ingested: text by keyfold's own readers, with an explicit schema; Parquet and Delta as they are; images."""

import codecs
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.conf.columns import Columns, Declared, declared, is_own, origins
from keyfold.conf.csv import Csv
from keyfold.core.names import FILE, LINE, LINE_REASON, LINE_TEXT
from keyfold.core.sql import col
from keyfold.ingestion import casts, parquet_files, text_files
from keyfold.ingestion.source_rows import EXACT, Source, escaped, file_of
from keyfold.ingestion.text_files import check_header
from keyfold.readers import Form
from keyfold.readers.opening import plain_name
from keyfold.readers.paths import local, local_files, partitions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def format_of(path: str) -> str:
    """csv, json, parquet, delta or images, by the name (and, for a local folder, by what is in it)."""
    if (Path(local(path) or path) / "_delta_log").is_dir():
        return "delta"
    name = plain_name(_first_of(path))
    if name.endswith((".json", ".jsonl", ".ndjson")):
        return "json"
    if name.endswith(IMAGES):
        return "images"
    return "parquet" if name.endswith(".parquet") else "csv"


def delimiter_of(path: str, csv: Csv | None) -> str:
    """The delimiter that the conf says, or the tab of a .tsv file."""
    return (csv and csv.delimiter) or ("\t" if plain_name(_first_of(path)).endswith((".tsv", ".tab")) else ",")


def _first_of(path: str) -> str:
    """The first file of a local folder; any other source itself."""
    return next(iter(local_files(path) or ()), path) if Path(local(path) or path).is_dir() else path


def form_of(path: str, csv: Csv | None, names: Sequence[str] = ()) -> Form:
    """How a source of text is written; `names` are the keys that are wanted of JSON lines."""
    if format_of(path) == "json":
        return Form("json", tuple(names))
    how, encoding = csv or Csv(), codecs.lookup((csv or Csv()).encoding).name
    return Form("csv", (), delimiter_of(path, csv), how.quote, how.escape, how.multi_line, encoding, tuple(how.null_values))


def header_of(file: str, path: str, csv: Csv | None) -> list[str]:
    """The names of a local CSV file of a source (DataError where it has none)."""
    return text_files.here([file], form_of(path, csv), guess=csv is None or csv.delimiter is None).names


def read(
    spark: "SparkSession",
    path: str,
    columns: Columns,
    csv: Csv | None,
    files: Sequence[str] = (),
    zone: str | None = None,
) -> Source:
    """The rows of a source, or of some of its files (DataError for an empty file or another header)."""
    from pyspark.sql import functions as F

    kind = format_of(path)
    if kind == "parquet":
        return parquet_files.read(spark, path, declared(columns), written(csv, zone), files)
    if kind == "delta":
        rows = spark.read.format(kind).load(path)
        own = [name for name in rows.columns if is_own(name)]
        notes = (
            [f"{path}: {', '.join(map('`{}`'.format, own))} are keyfold's own columns of that table, and left out"] if own else []
        )
        rows = rows.drop(*own)
        raw = F.to_json(F.struct(*map(col, rows.columns)), EXACT)
        return Source(rows.withColumn(FILE, F.lit(path)), F.lit(None).cast("string"), raw, notes)
    if kind == "images":
        others = [name for name in [*files] or local_files(path) or [] if not name.lower().endswith(IMAGES)]
        said = (
            f"{path}: {len(others):,} files are no pictures by their names, such as {min(others)}; they are left out"
            if others
            else ""
        )
        return _images(spark, [*map(escaped, files)] or [path])._replace(notes=[said] * bool(said))
    return _text(spark, path, columns, csv, files, zone)


def _text(spark: "SparkSession", path: str, columns: Columns, csv: Csv | None, files: Sequence[str], zone: str | None) -> Source:
    here = local_files(path)
    guess = csv is None or csv.delimiter is None
    wanted = declared(columns)
    form = form_of(path, csv, [column.name for column in wanted.values()])
    if here is None:
        found = text_files.elsewhere(spark, [*map(escaped, files)] or [path], form, guess=guess)
    else:
        found = text_files.here([*files] or [*map(os.path.abspath, here)], form, guess=guess)
    folders = partitions(path, [*found.heads])
    if form.kind == "json":
        first = next(iter(folders.values()), {})
        found = found.wanting([column.name for column in wanted.values() if column.name not in first])
    check_header(found, folders, wanted)
    return _typed(found.frame(spark, folders, origins(wanted)), wanted, written(csv, zone), found.notes())


def _images(spark: "SparkSession", paths: Sequence[str]) -> Source:
    """A row a picture: `path` (its folder and its name), `folder` (where each class has one, the class) and `image`, its bytes."""
    from pyspark.sql import functions as F

    files = spark.read.format("binaryFile").load([*paths])
    files = files.withColumn(FILE, file_of(files)).where(F.lower(FILE).rlike(rf"({'|'.join(map(re.escape, IMAGES))})$"))
    names = F.split(FILE, "/")
    rows = files.select(
        F.array_join(F.slice(names, -2, 2), "/").alias("path"), F.element_at(names, -2).alias("folder"),
        F.col("content").alias("image"), FILE,
    )  # fmt: skip
    return Source(rows, F.lit(None).cast("string"), F.to_json(F.struct("path")))


def written(csv: Csv | None, zone: str | None) -> casts.Written:
    """How text writes numbers and times."""
    return casts.Written(csv.decimal if csv else ".", csv.thousands if csv else "", zone)


def _typed(rows: "DataFrame", wanted: Mapping[str, Declared], how: casts.Written, notes: Sequence[str]) -> Source:
    from pyspark.sql import functions as F

    names = [c for c in rows.columns if c not in (FILE, LINE, LINE_TEXT, LINE_REASON)]
    table = {name: wanted.get(name, Declared("string", None, name, "string")) for name in names}
    plain = {n: casts.iso(col(n), c.type, c.form) if c.form else col(n) for n, c in table.items()}
    cast = {n: casts.cast(plain[n], c.type, how) for n, c in table.items()}
    wrong = [
        F.when(cast[n].isNull() & (casts.trimmed(col(n)) != ""), casts.why_not(f"`{n}`", plain[n], c.type, c.said))
        for n, c in table.items()
        if c.type != "string"
    ]
    values = F.to_json(F.struct(*(col(n).alias(c.name) for n, c in table.items())), {"ignoreNullFields": "false"})
    clocks = casts.clocks({n: plain[n] for n, c in table.items() if c.type == "timestamp"}, how.zone)
    kept = rows.select(
        *(value.alias(n) for n, value in cast.items()),
        F.coalesce(col(LINE_REASON), *wrong, F.lit(None)).alias("keyfold_reason"),
        F.coalesce(col(LINE_TEXT), values).alias("keyfold_raw"), FILE, LINE, *(value.alias(name) for name, value in clocks.items()),
    )  # fmt: skip
    return Source(kept, col("keyfold_reason"), col("keyfold_raw"), notes)
