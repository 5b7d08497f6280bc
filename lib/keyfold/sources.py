"""Reading what is to be ingested: files as text with an explicit schema, Parquet and Delta as they are, generators."""

import codecs
import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field, field_validator

from keyfold.digests import file_digest
from keyfold.errors import DataError, nearest
from keyfold.section import Section
from keyfold.sql import col, quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

TYPES = r"^(string|bigint|int|double|boolean|date|timestamp|timestamp_ntz|decimal\(\d{1,2},\d{1,2}\))$"
CORRUPT = "keyfold_corrupt"
REPLACEMENT = "\ufffd"
IN_ANOTHER_ENCODING = "set data.csv.encoding to iso-8859-1 where the file is in Latin-1, or convert it to UTF-8"
# Python's names of the encodings that Spark reads, and Spark's names; it takes no others.
CHARSETS = {
    "utf-8": "utf-8",
    "iso8859-1": "iso-8859-1",
    "ascii": "us-ascii",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "utf-32": "utf-32",
}


class Csv(Section):
    """How CSV files are written."""

    delimiter: str = Field(",", min_length=1, max_length=2)
    encoding: str = "utf-8"
    quote: str = Field('"', max_length=1, description="empty: no quoting")
    multi_line: bool = Field(False, description="whether quoted text may hold line breaks; reading is slower")

    @field_validator("encoding")
    @classmethod
    def _readable(cls, encoding: str) -> str:
        try:
            return CHARSETS[codecs.lookup(encoding).name]
        except LookupError:
            known = ", ".join(CHARSETS.values())
            raise ValueError(f"must be one of {known} (got `{encoding}`); convert files in others to UTF-8") from None


class Source(NamedTuple):
    """Rows as they came: `rows` typed, `reason` why a row cannot be kept (or NULL), `raw` its text."""

    rows: "DataFrame"
    reason: "Column"
    raw: "Column"


def format_of(path: str) -> str:
    """csv, json, parquet or delta, by the name (and, for a local folder, by what is in it)."""
    name = path.removesuffix(".gz").rstrip("/").lower()
    if (Path(path) / "_delta_log").is_dir():
        return "delta"
    if name.endswith((".json", ".jsonl", ".ndjson")):
        return "json"
    return "parquet" if name.endswith(".parquet") or list(Path(path).glob("*.parquet"))[:1] else "csv"


def identity(path: str) -> Any:
    """What pins the files of a source: their digests; for a place that is not local, the path alone."""
    files = _local_files(path)
    return {file: file_digest(file) for file in files} if files is not None else path


def delimiter_of(path: str, csv: Csv | None) -> str:
    """The delimiter that the conf says, or the tab of a .tsv file."""
    return csv.delimiter if csv else "\t" if path.removesuffix(".gz").endswith((".tsv", ".tab")) else ","


def read(spark: "SparkSession", path: str, columns: Mapping[str, str], csv: Csv | None) -> Source:
    """A source's rows (DataError for an empty file or another header)."""
    from pyspark.sql import functions as F

    kind = format_of(path)
    if kind in ("parquet", "delta"):
        rows = spark.read.format(kind).load(path)
        return Source(rows, F.lit(None).cast("string"), F.to_json(F.struct("*"), {"ignoreNullFields": "false"}))
    if kind == "json":
        return _typed(_json(spark, path, columns), columns, "the line is not a JSON object")
    odd = "the line does not parse: too few or too many fields, or broken quoting"
    return _typed(_csv(spark, path, columns, csv), columns, odd)


def check_there(path: str) -> None:
    """DataError where a local source holds no file."""
    if "://" in path or _local_files(path):
        return
    if glob.glob(path):
        raise DataError(f"data.source: the folder `{path}` holds no file")
    near = nearest(Path(path).name, [p.name for p in Path(path).parent.glob("*")])
    raise DataError(f"data.source: there is no file `{path}` (seen from {Path.cwd()}){near}")


def _local_files(path: str) -> list[str] | None:
    if "://" in path:
        return None
    files = [f for p in sorted(glob.glob(path)) for f in (sorted(Path(p).rglob("*")) if Path(p).is_dir() else [Path(p)])]
    return [str(f) for f in files if f.is_file()]


def _csv(spark: "SparkSession", path: str, columns: Mapping[str, str], csv: Csv | None) -> "DataFrame":
    how = csv or Csv()
    options: dict[str, Any] = {
        "sep": delimiter_of(path, csv),
        "encoding": how.encoding,
        "quote": how.quote,
        "escape": '"' if how.quote else "\\",
        "multiLine": how.multi_line,
    }
    first = spark.read.options(**options, header=False).csv(path).take(1)
    if not first:
        raise DataError(f"{path} is empty: not even a header")
    header = [name if name is not None else "" for name in first[0]]
    _check_header(path, header, columns)
    schema = ", ".join(f"{quoted(name)} string" for name in [*header, CORRUPT])
    reader = spark.read.schema(schema).options(**options, header=True, enforceSchema=False, columnPruning=False)
    return reader.options(columnNameOfCorruptRecord=CORRUPT, mode="PERMISSIVE").csv(path)


def _json(spark: "SparkSession", path: str, columns: Mapping[str, str]) -> "DataFrame":
    schema = ", ".join(f"{quoted(name)} string" for name in [*columns, CORRUPT])
    reader = spark.read.schema(schema).options(columnNameOfCorruptRecord=CORRUPT, mode="PERMISSIVE")
    return reader.json(path)


def _check_header(path: str, header: Sequence[str], columns: Mapping[str, str]) -> None:
    if garbled := [name for name in header if REPLACEMENT in name]:
        raise DataError(f"{path}: the header's column `{garbled[0]}` is not UTF-8; {IN_ANOTHER_ENCODING}")
    folded = [name.casefold() for name in header]
    twice = sorted({name for name in header if name.strip() and folded.count(name.casefold()) > 1})
    if twice:
        how = " more than once" if len(twice) == 1 else ", which Spark takes for one name"
        raise DataError(f"{path}: the header has {' and '.join(f'`{t}`' for t in twice)}{how}; rename one")
    if unnamed := [i + 1 for i, name in enumerate(header) if not name.strip()]:
        raise DataError(f"{path}: column {unnamed[0]} of the header has no name; name it")
    for name in columns:
        if name not in header:
            raise DataError(f"{path} has no column `{name}`, which data.columns declares{nearest(name, header)}")


def _typed(texts: "DataFrame", columns: Mapping[str, str], odd: str) -> Source:
    from pyspark.sql import functions as F

    names = [c for c in texts.columns if c != CORRUPT]
    cast = {name: _cast(col(name), columns.get(name, "string")) for name in names}
    wrong = [
        F.when(cast[n].isNull() & col(n).isNotNull() & (F.trim(col(n)) != ""), F.lit(f"`{n}` is not {columns[n]}"))
        for n in names
        if columns.get(n, "string") != "string"
    ]
    corrupt = F.when(col(CORRUPT).isNotNull(), F.lit(odd))
    raw = F.coalesce(col(CORRUPT), F.to_json(F.struct(*map(col, names)), {"ignoreNullFields": "false"}))
    kept = texts.select(
        *(cast[n].alias(n) for n in names), F.coalesce(corrupt, *wrong).alias("keyfold_reason"), raw.alias("keyfold_raw")
    )
    return Source(kept, col("keyfold_reason"), col("keyfold_raw"))


def _cast(text: "Column", type_: str) -> "Column":
    from pyspark.sql import functions as F

    if type_ == "string":
        return text
    value = F.trim(text).try_cast(type_)
    if type_.startswith("decimal"):
        # A decimal with more digits than the type holds would be rounded without a word.
        value = F.when(value == F.trim(text).try_cast("decimal(38,18)"), value)
    return value


def not_in_encoding(spark: "SparkSession", path: str) -> str | None:
    """Where the bytes of a text source are not UTF-8: the file and the beginning of the first such line."""
    from pyspark.sql import functions as F

    lines = spark.read.text(path).select("value", F.col("_metadata.file_name").alias("file"))
    found = lines.where(~F.is_valid_utf8("value")).select("file", F.hex(F.substring("value", 1, 60))).take(1)
    return f"{found[0][0]}: the line that begins `{bytes.fromhex(found[0][1]).decode('utf-8', 'replace')}`" if found else None
