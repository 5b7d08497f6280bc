"""Reads a table's layouts, each file against what its version declares, and brings all rows to the current schema."""

import glob
import os
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf.versions import LayoutVersion
from keyfold.core.digests import digest
from keyfold.core.names import BRIDGED, FILE, LAYOUT, LINE, LINE_TEXT, RAW, REASON
from keyfold.core.sql import col, quote_identifier
from keyfold.engine import functions as F
from keyfold.errors import ConfError, DataError, duplicates
from keyfold.ingestion import casts, drift, increments, sources
from keyfold.ingestion.bridges import bridge_column, lineage
from keyfold.ingestion.drift import ArrivedColumn, LayoutDrift
from keyfold.ingestion.source_rows import EXACT_JSON, SourceRows, escape_glob
from keyfold.readers import paths
from keyfold.readers.blocks import read_head
from keyfold.readers.paths import local_path
from keyfold.reporting import page
from keyfold.runtime import identity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from keyfold.conf.data import Data
    from keyfold.conf.use_case import Conf
    from keyfold.runtime.run import Run

_APPENDS = (
    "CREATE TABLE",
    "ADD COLUMNS",
    "CHANGE COLUMN",
    "SET TBLPROPERTIES",
    "UNSET TBLPROPERTIES",
    "UPGRADE PROTOCOL",
    "STREAMING UPDATE",
)


class LayoutFile(NamedTuple):
    """Rows of one place of a layout: its version, its name, its file (None: a generator or a Delta table)."""

    version: LayoutVersion
    name: str
    file: str | None = None

    @property
    def at(self) -> str:
        """What `keyfold.ingestion.increments` knows it as."""
        return os.path.abspath(self.file) if self.file else self.name  # noqa: PTH100 - links stay, `..` does not


def layout_files(data: "Data") -> list[LayoutFile]:
    """Where the layouts' rows are (ConfError for a pattern without files, a file of two layouts, or of none)."""
    if not isinstance(data.source, str):
        return [LayoutFile(v, v.delta.path if v.delta else f"layout {v.name}") for v in data.versions]
    found = [place for version in data.versions for place in _files(data.source, version)]
    names = [place.name for place in found if place.file]
    if twice := sorted(duplicates(names)):
        raise ConfError(f"data.versions: {twice[0]} is a file of two versions; make their patterns disjoint")
    there = {str(Path(file).relative_to(data.source)) for file in paths.local_files(glob.escape(data.source)) or ()}
    if rest := sorted(there - set(names)):
        raise ConfError(f"data.versions: {rest[0]} in {data.source} is of no version; name it in one, or move it away")
    return found


def _files(folder: str, version: LayoutVersion) -> list[LayoutFile]:
    if version.delta:
        return [LayoutFile(version, version.delta.path)]
    if not Path(folder).is_dir():
        raise ConfError(f"data.source: versions with `files` need a folder, and `{folder}` is none")
    found: list[str] = []
    for pattern in version.files:
        some = sorted(glob.glob(pattern, root_dir=folder))
        if not some:
            raise ConfError(f"data.versions: `{pattern}` of version `{version.name}` fits no file in {folder}")
        found += [file for name in some for file in paths.local_files(glob.escape(str(Path(folder, name)))) or ()]
    return [LayoutFile(version, str(Path(file).relative_to(folder)), file) for file in dict.fromkeys(found)]


def layout_files_now(run: "Run") -> dict[str, dict[str, Any]]:
    """What there is of each place, as `keyfold.ingestion.increments` has it: digests of files, versions of Delta tables, a generator's conf."""
    found: dict[str, dict[str, Any]] = {}
    for place in layout_files(run.conf.data):
        if place.file:
            found |= increments.files_now(run.spark, glob.escape(place.at))
        elif place.version.delta:
            at = [_delta(run.spark, place.version.delta.path), _until(run.spark, place.version)]
            found[place.at] = {"size": 0, "digest": digest(at)}
        else:
            found[place.at] = increments.files_now(run.spark, run.conf.data.source)[""]
    return found


def reading_options(conf: "Conf") -> dict[str, Any]:
    """How the source is read; a table remembers by it what it has of which files."""
    whole: dict[str, Any] = identity.conf_parts(conf, "ingest")["data"]
    return {name: value for name, value in whole.items() if name != "table"} | {"source": source_location(conf.data)}


def source_location(data: "Data") -> Any:
    """The source, by its absolute path where it is local, however it is written."""
    if not isinstance(data.source, str):
        return data.source and data.source.model_dump(mode="json")
    here = local_path(data.source)
    return data.source if here is None else os.path.abspath(here)  # noqa: PTH100 - links stay, `..` does not


def read_layouts(run: "Run", some: Sequence[str] | None = None) -> SourceRows:
    """The rows of all places, or of some, in the current schema, with their layout and their file (ConfError, DataError)."""
    data = run.conf.data
    found = [_read(run.spark, data, place) for place in layout_files(data) if some is None or place.at in some]
    told = [[frame_of.name, v.kind, v.said] for frame_of, _, layout in found for v in layout.verdicts]
    for name, kind, said in told:
        run.say(f"{name}: {said} ({kind}); accepted")
    run.jobs[-1].sections.append(
        page.PageSection("Lineage", page.html_table(*lineage(data), caption="What each column comes from, by layout."))
    )
    if told:
        accepted = page.html_table(["file", "kind", "what was found"], told, caption="Differences of layout that were accepted.")
        run.jobs[-1].sections.append(page.PageSection("Layouts", accepted))
    rows = reduce(
        lambda a, b: a.unionByName(b, allowMissingColumns=True), (_bridged(data, place, rows) for place, rows, _ in found)
    )
    return SourceRows(rows, F.col(REASON), F.col(RAW))


def _read(spark: "SparkSession", data: "Data", place: LayoutFile) -> "tuple[LayoutFile, DataFrame, LayoutDrift]":
    """The rows of a place with the columns that its version declares, typed."""
    declared = place.version.types or data.types
    text = place.file is not None and sources.format_of(place.file) in ("csv", "json")
    whole = None if text else _whole(spark, data, place)
    own = (FILE, RAW, REASON) if place.file else ()
    came = _header(spark, str(place.file), data) if whole is None else _came(whole.rows.drop(*own))
    stub = _stub(data, place.version, declared, came)
    layout = drift.compare_layouts(declared, came).settled(place.name, stub)
    if whole is None:
        columns = {layout.names[n]: said for n, said in (place.version.columns or data.columns).items()}
        source = sources.read_source(spark, str(place.file), columns, data.csv, [str(place.file)], data.zone)
    else:
        source = whole
    typed = (col(layout.names[name]).cast(type_).alias(name) for name, type_ in declared.items())
    clocks = casts.merge_clock_faults(source.rows.columns, {})
    line = col(LINE) if LINE in source.rows.columns else F.lit(None).cast("bigint")
    said = {REASON: source.reason, RAW: source.raw, LINE: line} | clocks
    return place, source.rows.select(*typed, *(c.alias(name) for name, c in said.items())), layout


def _stub(data: "Data", version: LayoutVersion, declared: Mapping[str, str], came: list[ArrivedColumn]) -> str:
    found = {c.name.removeprefix("\ufeff").strip(): c.type or declared.get(c.name, "string") for c in came}
    older, newer = (found, data.types) if version.columns else (declared, found)
    return drift.version_stub(older, newer, "<the older files>", data.key)


def _came(frame: "DataFrame") -> list[ArrivedColumn]:
    return [ArrivedColumn(f.name, f.dataType.simpleString(), f.nullable) for f in frame.schema.fields]


def _header(spark: "SparkSession", path: str, data: "Data") -> list[ArrivedColumn]:
    if sources.format_of(path) == "json":
        reader = spark.read.option("columnNameOfCorruptRecord", LINE_TEXT)
        return [ArrivedColumn(name) for name in reader.json(escape_glob(path)).columns if name != LINE_TEXT]
    form = sources.text_form(path, data.csv)
    return [
        ArrivedColumn(name) for name in read_head(path, form, guess=data.csv is None or data.csv.delimiter is None).form.names
    ]


def _whole(spark: "SparkSession", data: "Data", place: LayoutFile) -> SourceRows:
    """The rows of a place that has types of its own."""
    if place.file:
        return sources.read_source(spark, place.file, {}, None, [place.file], data.zone)
    if place.version.delta:
        rows = _appended(spark, place.version)
    else:
        assert not isinstance(data.source, str | None)
        rows = data.source.layout(spark, place.version.name)
    return SourceRows(rows, F.lit(None).cast("string"), F.to_json(F.struct("*"), EXACT_JSON))


def _bridged(data: "Data", place: LayoutFile, rows: "DataFrame") -> "DataFrame":
    old, more = place.version is not data.versions[-1], {}
    if old:
        made = {name: bridge_column(data, place.version, name) for name in data.types}
        reason = F.coalesce(col(REASON), *(g.reason for g in made.values()))
        columns = [g.value.cast(data.types[name]).alias(name) for name, g in made.items()]
        more = casts.clock_faults({name: g.clock for name, g in made.items() if g.clock is not None}, data.zone)
    else:
        reason, columns = col(REASON), [col(name) for name in data.types]
    said = {
        LAYOUT: F.lit(place.version.name),
        BRIDGED: F.lit(old),
        FILE: F.lit(place.at),
        REASON: reason,
        RAW: col(RAW),
        LINE: col(LINE),
    }
    said |= casts.merge_clock_faults(rows.columns, more)
    return rows.select(*columns, *(c.alias(name) for name, c in said.items()))


def to_table_schema(run: "Run", rows: "DataFrame", made: Sequence[str] = ()) -> "DataFrame":
    """Rows with the names and types of the table they go to, without the columns that are `made` later.

    DataError where that takes a bridge, with the stub for it.
    """
    if not run.rows.exists():
        return rows
    own = [c for c in rows.columns if c.startswith("keyfold_") or (run.conf.data.versions and c == BRIDGED)]
    there = {
        f.name: f for f in run.rows.read().schema.fields if not f.name.startswith("keyfold_") and f.name not in (*own, *made)
    }
    declared = {name: f.dataType.simpleString() for name, f in there.items()}
    came = [c for c in _came(rows) if c.name not in own]
    found = drift.compare_layouts(declared, came, [name for name, f in there.items() if not f.nullable])
    stub = drift.version_stub(declared, {c.name: str(c.type) for c in came}, "<the older files>", run.conf.data.key)
    layout = found.settled(f"the source of table `{run.rows.name}`", f"{stub}or choose another data.table")
    for verdict in layout.verdicts:
        run.say(f"{verdict.said} ({verdict.kind}); accepted")
    return rows.select(*(col(layout.names[n]).cast(t).alias(n) for n, t in declared.items()), *map(col, own))


# --- layouts of a Delta table: what was appended from one version to another ---


def _delta(spark: "SparkSession", path: str) -> str:
    return str(spark.sql(f"DESCRIBE DETAIL delta.{quote_identifier(path)}").collect()[0].id)


def _until(spark: "SparkSession", version: LayoutVersion) -> list[int]:
    assert version.delta is not None
    first, *last = version.delta.versions
    history = spark.sql(f"DESCRIBE HISTORY delta.{quote_identifier(version.delta.path)}").collect()
    until = last[0] if last else history[0].version
    for row in history:
        appends = row.operation.startswith(_APPENDS) or row.operationParameters.get("mode") == "Append" or row.version == 0
        if first <= row.version <= until and not appends:
            raise DataError(
                f"data.versions: version {row.version} of the Delta table `{version.delta.path}` is a {row.operation}, "
                f"not an append, so which of its rows are of layout `{version.name}` cannot be told; choose versions around it"
            )
    return [first, until]


def _appended(spark: "SparkSession", version: LayoutVersion) -> "DataFrame":
    """Rows of the data files that came in from the first version to the last, in the schema of the last."""
    assert version.delta is not None
    first, until = _until(spark, version)

    def at(number: int) -> "DataFrame":
        return spark.read.format("delta").option("versionAsOf", number).load(version.delta.path)  # type: ignore[union-attr]

    rows = at(until)
    before = [Path(file).name for file in at(first - 1).inputFiles()] if first else []
    return rows.where(~F.col("_metadata.file_name").isin(before)) if before else rows
