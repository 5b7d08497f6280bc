"""Files that Spark reads, such as those of other file systems. The name of a local file is its path, of another one its URI."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from keyfold.engine import functions as F
from keyfold.engine.spark_frame import SparkFrame

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


class ListedFile(NamedTuple):
    """A file: its name, its size in bytes, and when it was changed."""

    name: str
    size: int
    modified: str


def list_files(spark: "SparkSession", *paths: str) -> list[ListedFile]:
    """The files of folders and patterns, by name."""
    files = spark.read.format("binaryFile").load([*paths])
    rows = files.select(_name(files), "length", "modificationTime").collect()
    return sorted(ListedFile(name, size, str(modified)) for name, size, modified in rows)


def read_files(spark: "SparkSession", names: Sequence[str], most: int | None = None) -> SparkFrame:
    """`file` and `content`, its bytes or the first ones."""
    files = spark.read.format("binaryFile").load([*map(escape_glob, names)])
    content = F.col("content") if most is None else F.substring("content", 1, most)
    return SparkFrame(files.select(_name(files).alias("file"), content.alias("content")))


def read_parquet(spark: "SparkSession", names: Sequence[str], file: str) -> SparkFrame:
    """The rows of Parquet files, and the name of each row's file in a column `file`."""
    rows = spark.read.format("parquet").load([*map(escape_glob, names)])
    return SparkFrame(rows.withColumn(file, _name(rows)))


def _name(rows: "DataFrame") -> "Column":
    uri = rows.metadataColumn("_metadata").getField("file_path")
    name = F.url_decode(F.replace(uri, F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(name, "^file:/+", "/")


def escape_glob(file: str) -> str:
    """A file's name as a pattern that matches only itself."""
    return re.sub(r"([{}\[\]*?\\])", r"\\\1", file)
