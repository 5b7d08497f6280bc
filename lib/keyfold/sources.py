"""Reading what is to be ingested: files as text with an explicit schema, Parquet and Delta as they are, generators."""

import codecs
import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from keyfold import casts
from keyfold.errors import DataError, nearest
from keyfold.section import Section
from keyfold.sql import col, quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

TYPES = r"^(string|bigint|int|double|boolean|date|timestamp|timestamp_ntz|decimal\(\d{1,2},\d{1,2}\))$"
CORRUPT, FILE = "keyfold_corrupt", "keyfold_file"
REPLACEMENT = "\ufffd"
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
UNREADABLE = "cannot be read: it is gone, cut short, or not of the kind that its name says"
IN_ANOTHER_ENCODING = "set data.csv.encoding to iso-8859-1 where the file is in Latin-1, or convert it to UTF-8"
# Python's names of the encodings that Spark reads, and Spark's names; it takes no others.
CHARSETS = {
    "utf-8": "utf-8",
    "iso8859-1": "iso-8859-1",
    "ascii": "utf-8",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "utf-32": "utf-32",
}


class Csv(Section):
    """How CSV files are written."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=2, description="default: a comma; the tab of .tsv and .tab files"
    )
    encoding: str = "utf-8"
    quote: str = Field('"', max_length=1, description="empty: no quoting")
    multi_line: bool = Field(False, description="whether quoted text may hold line breaks; reading is slower")
    thousands: Literal["", ",", ".", " ", "'", "_"] = Field("", description="what numbers are grouped with, as in 1,234,567")

    @model_validator(mode="after")
    def _lines_are_bytes(self) -> "Csv":
        if self.encoding.startswith(("utf-16", "utf-32")) and not self.multi_line:
            raise ValueError(f"encoding {self.encoding} needs multi_line: true, for its lines cannot be told by their bytes")
        return self

    @field_validator("encoding")
    @classmethod
    def _readable(cls, encoding: str) -> str:
        try:
            return CHARSETS[codecs.lookup(encoding).name]
        except LookupError:
            known = ", ".join(dict.fromkeys(CHARSETS.values()))
            raise ValueError(f"must be one of {known} (got `{encoding}`); convert files in others to UTF-8") from None


class Source(NamedTuple):
    """Rows as they came: `rows` typed, `reason` why a row cannot be kept (or NULL), `raw` its text."""

    rows: "DataFrame"
    reason: "Column"
    raw: "Column"


def format_of(path: str) -> str:
    """csv, json, parquet, delta or images, by the name (and, for a local folder, by what is in it)."""
    if (Path(path) / "_delta_log").is_dir():
        return "delta"
    inside = next(iter(local_files(path) or ()), "") if Path(path).is_dir() else ""
    name = (inside or path).removesuffix(".gz").rstrip("/").lower()
    if name.endswith((".json", ".jsonl", ".ndjson")):
        return "json"
    if name.endswith(IMAGES):
        return "images"
    return "parquet" if name.endswith(".parquet") else "csv"


def delimiter_of(path: str, csv: Csv | None) -> str:
    """The delimiter that the conf says, or the tab of a .tsv file."""
    name = (next(iter(local_files(path) or ()), path) if Path(path).is_dir() else path).removesuffix(".gz")
    return (csv and csv.delimiter) or ("\t" if name.endswith((".tsv", ".tab")) else ",")


class Text(NamedTuple):
    """How the lines of text files become rows: what `from_csv` or `from_json` needs."""

    kind: str
    names: Sequence[str]
    options: Mapping[str, Any]
    by_line: bool = True  # a row is a line

    @property
    def schema(self) -> str:
        """All as text, and the line where it cannot be read."""
        return ", ".join(f"{quoted(name)} string" for name in [*self.names, CORRUPT])

    def raw(self, line: "Column") -> "Column":
        """What quarantine holds of a line as it stands in the file."""
        from pyspark.sql import functions as F

        options = {name: str(value) for name, value in self.options.items()}
        if self.kind == "json":
            row = F.from_json(line, self.schema, options)
        else:
            utf8 = self.options["encoding"] == "utf-8"
            row = F.from_csv(line if utf8 else F.decode(line.cast("binary"), self.options["encoding"]), self.schema, options)
        return _raw(row.getField(CORRUPT), {name: row.getField(name) for name in self.names})

    def header(self) -> "Column":
        """What quarantine would hold of the header."""
        from pyspark.sql import functions as F

        return _raw(F.lit(None).cast("string"), {name: F.lit(name) for name in self.names})


def read(
    spark: "SparkSession",
    path: str,
    columns: Mapping[str, str],
    csv: Csv | None,
    files: Sequence[str] = (),
    zone: str | None = None,
) -> Source:
    """The rows of a source, or of some of its files (DataError for an empty file or another header)."""
    from pyspark.sql import functions as F

    kind = format_of(path)
    if kind == "parquet":
        _check_alike([*files] or local_files(path) or ())
    if kind in ("parquet", "delta"):
        reader = spark.read.option("basePath", path) if files and Path(path).is_dir() else spark.read
        rows = reader.format(kind).load([*map(escaped, files)] or path)
        rows = rows.withColumn(FILE, F.lit(path) if kind == "delta" else file_of(rows))
        values = [col(c) for c in rows.columns if c != FILE]
        return Source(rows, F.lit(None).cast("string"), F.to_json(F.struct(*values), EXACT))
    if kind == "images":
        return _images(spark, [*map(escaped, files)] or [path])
    text = described(spark, path, columns, csv, files)
    reader = spark.read.schema(text.schema).options(**text.options)
    if Path(path).is_dir() and files:
        reader = reader.option("basePath", path)
    at = [*map(escaped, files)] or [path]
    rows = reader.json(at) if kind == "json" else reader.csv(at)
    source = _typed(rows.withColumn(FILE, file_of(rows)), columns, _ODD[kind], (csv or Csv()).thousands, zone)
    return _without_unclosed(source, at, text) if kind == "csv" and text.by_line and text.options["quote"] else source


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


EXACT = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}
_ODD = {
    "json": "the line is not a JSON object",
    "csv": "the line does not parse: too few or too many fields, or broken quoting",
}


def described(spark: "SparkSession", path: str, columns: Mapping[str, str], csv: Csv | None, files: Sequence[str] = ()) -> Text:
    """How a source of text is read (DataError for an empty file or another header)."""
    mode = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}
    if format_of(path) == "json":
        return Text("json", [*columns], mode)
    how = csv or Csv()
    options: dict[str, Any] = {
        "sep": delimiter_of(path, csv),
        "encoding": how.encoding,
        "quote": how.quote,
        "escape": '"' if how.quote else "\\",
        "multiLine": how.multi_line,
    }
    first = spark.read.options(**options, header=False).csv([*map(escaped, files)] or path).take(1)
    if not first:
        raise DataError(f"{path} is empty: not even a header")
    header = [name if name is not None else "" for name in first[0]]
    # What R and pandas write before the first column: the number of the row, without a name.
    numbered = len(header) > 1 and not header[0].strip() and len(files or local_files(path) or ()) <= 1
    header = ["_c0", *header[1:]] if numbered else header
    _check_header(path, header, columns)
    options |= {"header": True, "enforceSchema": numbered, "columnPruning": False}
    return Text("csv", header, options | mode, by_line=not how.multi_line)


def escaped(file: str) -> str:
    """A file's name as a pattern that only itself matches."""
    return re.sub(r"([{}\[\]*?\\])", r"\\\1", file)


def file_of(rows: "DataFrame") -> "Column":
    """The name of the file that a row is of: a path, where it is local."""
    from pyspark.sql import functions as F

    uri = rows.metadataColumn("_metadata").getField("file_path")
    name = F.url_decode(F.replace(uri, F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(name, "^file:/+", "/")


def _raw(corrupt: "Column", values: "Mapping[str, Column]") -> "Column":
    from pyspark.sql import functions as F

    named = F.struct(*(value.alias(name) for name, value in values.items()))
    return F.coalesce(corrupt, F.to_json(named, {"ignoreNullFields": "false"}))


def check_there(path: str) -> None:
    """DataError where a local source holds no file."""
    if "://" in path or local_files(path):
        return
    if glob.glob(path):
        raise DataError(f"data.source: the folder `{path}` holds no file")
    near = nearest(Path(path).name, [p.name for p in Path(path).parent.glob("*")])
    raise DataError(f"data.source: there is no file `{path}` (seen from {Path.cwd()}){near}")


def local_files(path: str) -> list[str] | None:
    """The files of a source, in order; None where they are not in the local file system."""
    if "://" in path:
        return None
    found = sorted(glob.glob(path))
    files = [f for p in found for f in (sorted(Path(p).rglob("*")) if Path(p).is_dir() else [Path(p)])]
    # Like Spark, not what a name hides.
    hidden = {f for f in files if str(f) not in found and f.name[0] in "._"}
    return [str(f) for f in files if f.is_file() and f not in hidden]


def _check_header(path: str, header: Sequence[str], columns: Mapping[str, str]) -> None:
    if garbled := [name for name in header if REPLACEMENT in name]:
        raise DataError(f"{path}: the header's column `{garbled[0]}` is not UTF-8; {IN_ANOTHER_ENCODING}")
    folded = [name.casefold() for name in header]
    twice = sorted({name for name in header if name.strip() and folded.count(name.casefold()) > 1})
    if twice:
        how = " more than once" if len(twice) == 1 else ", which Spark takes for one name"
        raise DataError(f"{path}: the header has {' and '.join(f'`{t}`' for t in twice)}{how}; rename one")
    if own := [name for name in header if name.startswith("keyfold_")]:
        raise DataError(f"{path}: the header's column `{own[0]}` has a name that keyfold itself gives; rename it")
    if unnamed := [i + 1 for i, name in enumerate(header) if not name.strip()]:
        raise DataError(f"{path}: column {unnamed[0]} of the header has no name; name it")
    for name in columns:
        if name not in header:
            raise DataError(f"{path} has no column `{name}`, which data.columns declares{nearest(name, header)}")


def _without_unclosed(source: Source, at: Sequence[str], text: Text) -> Source:
    """With a reason for lines whose last quote is not closed, which Spark takes to end with the line."""
    from pyspark.sql import functions as F

    quote, sep = (re.escape(text.options[name]) for name in ("quote", "sep"))
    lines = source.rows.sparkSession.read.text([*at])
    value = F.col("value")
    opened = F.regexp_count(value, F.lit(quote)) % 2 == 1
    found = lines.where(opened & value.rlike(f"(^|{sep}){quote}([^{quote}]|{quote}{quote})*$"))
    if not found.take(1):
        return source
    open_ = found.select(file_of(found).alias(FILE), text.raw(F.col("value")).alias("keyfold_raw")).distinct()
    marked = source.rows.join(F.broadcast(open_.withColumn("keyfold_open", F.lit(True))), [FILE, "keyfold_raw"], "left")
    reason = F.when(col("keyfold_open"), F.lit("a quote is not closed; data.csv.multi_line is for text with line breaks"))
    marked = marked.withColumn("keyfold_reason", F.coalesce(col("keyfold_reason"), reason))
    return Source(marked.select(*map(col, source.rows.columns)), source.reason, source.raw)


def _check_alike(files: Sequence[str]) -> None:
    """DataError where local Parquet files have different columns, of which Spark would take those of one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: dict[str, str] = {}
    for file in files:
        if "://" in file:
            continue
        try:
            fields = {field.name: str(field.type) for field in pq.read_schema(file)}
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} {UNREADABLE}") from error
        first = seen or fields
        if odd := sorted(dict(fields.items() ^ first.items())):
            raise DataError(
                f"{file} has other columns than {files[0]}: `{'`, `'.join(odd)}`; declare each layout as one of data.versions"
            )
        seen = fields


def _typed(texts: "DataFrame", columns: Mapping[str, str], odd: str, thousands: str, zone: str | None) -> Source:
    from pyspark.sql import functions as F

    names = [c for c in texts.columns if c not in (CORRUPT, FILE)]
    cast = {name: casts.cast(col(name), columns.get(name, "string"), thousands, zone) for name in names}
    wrong = [
        F.when(cast[n].isNull() & col(n).isNotNull() & (casts.trimmed(col(n)) != ""), F.lit(f"`{n}` is not {columns[n]}"))
        for n in names
        if columns.get(n, "string") != "string"
    ]
    corrupt = F.when(col(CORRUPT).isNotNull(), F.lit(odd))
    raw = _raw(col(CORRUPT), {name: col(name) for name in names})
    clocks = casts.clocks({name: col(name) for name in names if columns.get(name) == "timestamp"}, zone)
    kept = texts.select(
        *(cast[n].alias(n) for n in names), F.coalesce(corrupt, *wrong, F.lit(None)).alias("keyfold_reason"),
        raw.alias("keyfold_raw"), FILE, *(value.alias(name) for name, value in clocks.items()),
    )  # fmt: skip
    return Source(kept, col("keyfold_reason"), col("keyfold_raw"))


def not_in_encoding(spark: "SparkSession", files: Sequence[str]) -> str | None:
    """Where the bytes of text files are not UTF-8: the file and the beginning of the first such line."""
    from pyspark.sql import functions as F

    lines = spark.read.text([*map(escaped, files)]).select("value", F.col("_metadata.file_name").alias("file"))
    found = lines.where(~F.is_valid_utf8("value")).select("file", F.hex(F.substring("value", 1, 60))).take(1)
    return f"{found[0][0]}: the line that begins `{bytes.fromhex(found[0][1]).decode('utf-8', 'replace')}`" if found else None
