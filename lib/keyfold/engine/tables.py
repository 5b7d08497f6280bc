"""Delta tables: where they live, which version they are at, and the commit protocol.

A run's values arrive in one commit that replaces its periods, and that carries the run id and the expected counts. The
commit's own row metric is compared before the run counts as done; a difference puts the periods' former rows back.
"""

import fcntl
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from keyfold.core import sql
from keyfold.core.digests import digest
from keyfold.engine import functions as F
from keyfold.engine.commits import (
    OLD,
    RECORDS,
    Commit,
    CommitLog,
    CommitRecords,
    merge_commits,
    unchanged_commits,
    unknown_versions,
)
from keyfold.engine.session import temporary_settings
from keyfold.errors import DataError, KeyfoldError, PromiseError, suggestion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession


_UNSORTED = {"spark.sql.maxConcurrentOutputFileWriters": "8"}  # else rows are sorted by a partition column that has one value
_UNMEASURED = "parquet.column.statistics.enabled", "parquet.size.statistics.enabled"
PURPOSE = "keyfold.purpose"
_ids: dict[tuple[Any, ...], str] = {}
_ODD = set(" ,;{}()\n\t=")  # Delta needs column mapping for names with these


class TableVersion(NamedTuple):
    """What pins a table's rows: the table's id and its last data-changing version."""

    id: str
    version: int


class Table:
    """One Delta table, in a catalog or in a folder of the state."""

    def __init__(
        self, spark: "SparkSession", name: str, path: Path | None, use: "TableUse | None" = None, records: "Table | None" = None
    ) -> None:  # fmt: skip
        self.spark, self.name, self.path, self.use, self._records = spark, name, path, use, records
        self.at = f"delta.{sql.quote_identifier(str(path))}" if path else ".".join(map(sql.quote_identifier, name.split(".")))

    def exists(self) -> bool:
        """Whether the table is there."""
        return any((self.path / "_delta_log").glob("*.json")) if self.path else self.spark.catalog.tableExists(self.at)

    def read(self, version: int | None = None) -> "DataFrame":
        """The rows, now or at a version (DataError where the table or the version is not there)."""
        self._check_there()
        if version is None:
            return self._load()
        try:
            rows = self._load(version)
            if self.path is None or all(map(_is_there, rows.inputFiles())):
                return rows
        except Exception as error:
            if "DELTA_VERSION_NOT_FOUND" not in str(error) or version > self.history(1)[0].version:
                raise
        rows = self._load()
        if self.log().changed_since(version):
            raise self._gone(version)
        return rows  # the same rows in other files, or under a later version

    def _load(self, version: int | None = None) -> "DataFrame":
        reader = self.spark.read.format("delta")
        reader = reader if version is None else reader.option("versionAsOf", version)
        return reader.load(str(self.path)) if self.path else reader.table(self.at)

    def _gone(self, version: int) -> DataError:
        kept = self.properties().get("delta.deletedFileRetentionDuration", "interval 1 week").removeprefix("interval ")
        first = self.history()[-1].version
        why = f"VACUUM takes rows that were replaced more than {kept} ago (data.retention)"
        if version < first:
            why = f"Delta's log was cleaned up to version {first} (delta.logRetentionDuration), and rows may have changed since"
        return DataError(
            f"version {version} of table `{self.name}` is gone: {why}; run the job on the table as it is, or ingest those files again"
        )

    def history(self, limit: int | None = None) -> "list[Row]":
        """Commits, newest first."""
        return self.spark.sql(f"DESCRIBE HISTORY {self.at}" + (f" LIMIT {limit}" if limit else "")).collect()

    def log(self, *, recorded: bool = False) -> CommitLog:
        """What is known of the commits; with `recorded`, also which of them keyfold checked."""
        live = [Commit.of(row) for row in self.history()]
        young = live[-1].version == 0 and datetime.now(live[-1].at.tzinfo) - live[-1].at < OLD
        if self._records is None or (young and not recorded):
            return CommitLog(live)
        records = CommitRecords(self._records, self._id(live), self.name)
        known = records.read()
        added = [] if young else [c for c in live if c.version not in known]
        missed = unknown_versions(known, live)
        if missed and self._same_as(known[missed[0] - 1], live):
            added += unchanged_commits(missed, live[-1].at)
        if added:
            added[0] = added[0]._replace(files=self._files(added[0].version)) if added[0].version == live[0].version else added[0]
            records.add(added)
        return CommitLog(merge_commits(known | {c.version: c for c in added}, live).values())

    def _same_as(self, recorded: Commit, live: list[Commit]) -> bool:
        """Whether the rows before the commits that the history still has are those after a recorded one: they are in the same files."""
        vectors = [value for name, value in self.properties().items() if "deletionvectors" in name.lower()]
        if not recorded.files or {*vectors} & {"true", "supported"}:
            return False
        return recorded.files == self._files(live[-1].version if any(c.changes for c in live[:-1]) else None)

    def _files(self, version: int | None) -> str:
        """A digest of the names of the data files, which say a UUID each, and of the columns."""
        try:
            rows = self._load(version)
            return digest([rows.schema.jsonValue(), sorted(file.rpartition("/")[2] for file in rows.inputFiles())])
        except Exception as error:
            if "DELTA_VERSION_NOT_FOUND" in str(error):
                return ""
            raise

    def version(self) -> TableVersion:
        """The table's id and its last data-changing version (DataError where the table is not there)."""
        self._check_there()
        log = self.log()
        return TableVersion(self._id([*log]), log.last_change())

    def _id(self, commits: list[Commit]) -> str:
        """Asked once of each table that was made, for to ask has Delta read its whole state."""
        made = (self.at, *(c.at for c in commits if c is commits[-1] or "REPLACE" in c.operation))
        if made not in _ids:
            _ids[made] = self._id_in_log() or self.spark.sql(f"DESCRIBE DETAIL {self.at}").collect()[0].id
        return _ids[made]

    def _id_in_log(self) -> str | None:
        for file in sorted((self.path / "_delta_log").glob("*.json"), reverse=True) if self.path else ():
            for line in file.read_text("utf-8").splitlines():
                if line.startswith('{"metaData"'):
                    return str(json.loads(line)["metaData"]["id"])
        return None

    def commits(self) -> Iterator[Commit]:
        """keyfold's own commits, newest first; those that the history no longer has without their memory of files."""
        return (commit for commit in self.log() if commit.metadata)

    def memory(self, commit: Commit) -> dict[str, Any]:
        """The metadata of a commit with its memory of files."""
        if self._records is None or "files" in commit.metadata:
            return commit.metadata
        return commit.metadata | CommitRecords(self._records, self.version().id, self.name).memory(commit.version)

    def versions_of(self, column: str, values: Iterable[str], version: int) -> dict[str, int]:
        """By value of the column that `replace` goes by, the version, at most `version`, that changed it last.

        A commit that is not keyfold's changes all.
        """
        found = self.log().last_of(column, values, version)
        return {value: last.version if isinstance(last, Commit) else last for value, last in found.items()}

    def changed_by_others(self, column: str, values: Iterable[str]) -> set[str]:
        """Of the values of the column that `replace` goes by, those whose rows are not, or may not be, as keyfold committed them."""
        log, by_version = self.log(), defaultdict[int, list[str]](list)
        changed = set()
        for value in values:
            known, others = log.own(column, value)
            if not known:
                changed.add(value)
            elif others is not None:
                by_version[others].append(value)
        for version, some in by_version.items():
            try:
                former, now = (_sums(self.read(at).where(_where(column, some)), column) for at in (version, None))
                changed |= {value for value in some if former.get(value) != now.get(value)}
            except Exception as error:
                if not isinstance(error, DataError) and "FILE_NOT_EXIST" not in str(error):
                    raise
                changed |= {*some}  # the former rows are gone
        return changed

    def unique(self, key: Sequence[str], version: int | None = None) -> bool:
        """Whether every commit up to a version was one that proved the key to be unique."""
        return self.log().proves(key, version)

    def holds(self, value: str, run_id: str, rows: int, column: str = "period") -> bool:
        """Whether the rows of a period, or another value of `column`, are all of one run, and so many."""
        if not self.exists():
            return False
        there = self.read().where(sql.col(column) == value).groupBy("run_id").count().collect()
        return [(row["run_id"], row["count"]) for row in there] == ([(run_id, rows)] if rows else [])

    def append(self, frame: "DataFrame", **metadata: Any) -> None:
        """Adds rows in one commit."""
        with self.lock():
            self._save(frame.write.format("delta").mode("append"), frame, metadata)

    def replace(
        self, frame: "DataFrame", column: str, values: Mapping[str, int], *, partition: bool = True,
        retention: str | None = None, indexed: Sequence[str] = (), schema: bool = False, check: Callable[[], None] | None = None,
        recorded: bool = False, **metadata: Any,
    ) -> Commit:  # fmt: skip
        """Puts `frame` in the place of the rows whose `column` is one of `values`, which says how many rows each has; one commit.

        `indexed` are the columns of which files keep bounds (default: the first 32), `retention` is that of a table that is not
        there yet; with `schema` other columns replace the whole table; `recorded` keeps what the metadata say beyond Delta's
        history. PromiseError where Delta counts other rows than were expected, and whatever `check` raises, which looks at the
        table after the commit; the former rows are put back.
        """
        attempt = uuid.uuid4().hex
        metadata |= {"attempt": attempt, column: dict(values)} | ({"recorded": True} if recorded else {})
        with self.lock():
            there, anew = self.exists(), False
            if there:
                self.log()  # records what the commit may have Delta clean
            writer = frame.write.format("delta").mode("overwrite")
            if not there:
                writer = writer.options(**_kept_for(retention) if retention else {}, **_indexed(indexed) if indexed else {})
            elif anew := schema and self.read().columns != frame.columns:
                writer = writer.option("overwriteSchema", "true")
            else:
                writer = writer.option("replaceWhere", _where(column, values))
            with temporary_settings(self.spark, _UNSORTED | _measured(indexed)):
                self._save(writer.partitionBy(column) if partition else writer, frame, metadata)
            commit = self._committed(attempt)
            try:
                self._check_rows(commit, sum(values.values()))
                if check:
                    check()
            except KeyfoldError:
                done = self._put_back(column, values, commit, anew=anew)
                if recorded:
                    self._record(done)
                raise
            if recorded:
                self._record(commit)
        return commit

    def _committed(self, attempt: str) -> Commit:
        return next(c for c in map(Commit.of, self.history(20)) if c.metadata.get("attempt") == attempt)

    def _check_rows(self, commit: Commit, expected: int) -> None:
        if commit.rows != expected:
            raise PromiseError(
                f"table `{self.name}`: {expected:,} rows were expected, and Delta committed {commit.rows:,}; "
                "the former rows were put back. Please run again, and report this"
            )

    def _record(self, commit: Commit) -> None:
        """Records a commit that was checked, the one before that it undid, and those of others between it and keyfold's last."""
        if self._records is None:
            return
        live, undone = [Commit.of(row) for row in self.history()], commit.metadata.get("undone")
        earlier = takewhile(lambda c: not c.metadata or c.version == undone, (c for c in live if c.version < commit.version))
        sound = commit._replace(checked=True, files=self._files(commit.version))
        CommitRecords(self._records, self._id(live), self.name).add([sound, *earlier])

    def claim(self, columns: Sequence[str] | None = None) -> None:
        """DataError where the table is for another use; one that does not say takes this one, if it has the columns of such a table."""
        if self.use is None or not self.exists():
            return
        purpose = self.properties().get(PURPOSE)
        if purpose is None and columns is not None:
            if not _alike(columns, self.read().columns):
                raise DataError(
                    f"table `{self.name}` has other columns than a table of {self.use.purpose}; choose another name ({self.use.option})"
                )
            self.describe({PURPOSE: self.use.purpose})
        elif purpose not in (None, self.use.purpose):
            raise DataError(
                f"table `{self.name}` is for {purpose}, and not for {self.use.purpose}; choose another name ({self.use.option})"
            )

    def keep_for(self, retention: str) -> None:
        """Sets how long former rows are kept, where that is not so yet."""
        self.describe(_kept_for(retention))

    def properties(self) -> dict[str, str]:
        """What the table says of itself (DataError where it is not there)."""
        self._check_there()
        return {row.key: row.value for row in self.spark.sql(f"SHOW TBLPROPERTIES {self.at}").collect()}

    def describe(self, properties: Mapping[str, str]) -> None:
        """Sets properties, where they are not so yet."""
        if properties.items() - self.properties().items():
            said = ", ".join(
                f"{sql.property_literal(name)} = {sql.property_literal(value)}" for name, value in properties.items()
            )
            with temporary_settings(self.spark, sql.ESCAPED):
                self.spark.sql(f"ALTER TABLE {self.at} SET TBLPROPERTIES ({said})")

    def undo(self, commit: Commit, column: str) -> Commit:
        """Puts back, in one commit, the rows that a checked commit replaced (DataError where they were changed since, or are gone)."""
        values = commit.metadata[column]
        with self.lock():
            log = self.log(recorded=True)
            for value in values:
                if log.standing(column, value) != commit.version:
                    raise DataError(
                        f"table `{self.name}`: the rows of period {value} were changed after version {commit.version}, which is to be "
                        "undone; nothing was changed"
                    )
            key = commit.metadata.get("unique")
            proven = {"unique": key} if key and log.proves(key, commit.version - 1) else {}
            done = self._put_back(column, values, commit, anew=False, **proven)
            self._record(done)
        return done

    def _put_back(self, column: str, values: Iterable[str], commit: Commit, *, anew: bool, **more: Any) -> Commit:
        # Not RESTORE, which would undo other periods too.
        log = self.log(recorded=True)
        former = self.read(commit.version).where("false") if not anew else self.read(commit.version - 1)
        by_version: dict[int, list[str]] = {}
        for value in [] if anew else values:
            by_version.setdefault(log.before(commit, column, value), []).append(value)
        for version, some in by_version.items():
            former = former.unionByName(self.read(version).where(_where(column, some))) if version >= 0 else former
        writer = former.write.format("delta").mode("overwrite")
        writer = writer.option("overwriteSchema", "true") if anew else writer.option("replaceWhere", _where(column, values))
        attempt = uuid.uuid4().hex
        more |= {"put_back": commit.metadata.get("run_id"), "undone": commit.version, "attempt": attempt}
        metadata = more if anew else more | {column: list(values)}
        self._save(writer, former, metadata)
        return self._committed(attempt)

    def _save(self, writer: Any, frame: "DataFrame", metadata: Mapping[str, Any]) -> None:
        writer = writer.option("userMetadata", json.dumps({"keyfold": metadata}, sort_keys=True))
        there = self.exists()
        if there:
            self.claim(frame.columns)
        elif odd_column_names(frame.columns):
            writer = writer.option("delta.columnMapping.mode", "name")
        self._write(writer)
        if not there and self.use:
            self.describe({PURPOSE: self.use.purpose})

    def _write(self, writer: Any) -> None:
        if self.path:
            writer.save(str(self.path))
        else:
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self.at.rpartition('.')[0]}")
            writer.saveAsTable(self.at)

    def _check_there(self) -> None:
        if not self.exists():
            siblings = [p.name for p in self.path.parent.glob("*")] if self.path else []
            raise DataError(
                f"there is no table `{self.name}`{suggestion(self.name.split('.')[-1], siblings)}; run `ingest` first"
            )

    @contextmanager
    def lock(self, what: str = "", say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Keeps other processes from writing, or from `what`; on a local disk Delta itself promises no such exclusion.

        `say` is told where another one is at it.
        """
        if self.path is None:
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / f".{self.path.name}.{what}lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if say:
                    say(f"another job is at `{self.name}`{f', {what}' if what else ''}; waiting until it is done")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Tables:
    """Finds tables by `schema.table`, in the configured catalog or else under `home`."""

    def __init__(self, spark: "SparkSession", home: Path) -> None:
        self.spark, self.home = spark, home
        self.in_catalog = _catalog_configured(spark)

    def table(self, name: str) -> Table:
        """The table of that name, there or not."""
        parts = name.split(".")
        catalog = self.in_catalog or len(parts) > 2
        records = None if name == RECORDS else self.table(RECORDS)
        return Table(self.spark, name, None if catalog else self.home.joinpath("tables", *parts), records=records)

    def used(self, use: "TableUse") -> Table:
        """The table of a use, there or not; it is written for that use alone."""
        table = self.table(use.name)
        table.use = use
        return table


def _alike(columns: Sequence[str], there: Sequence[str]) -> bool:
    """Whether two tables are of one kind: they have the same columns, or the same of keyfold's own beside a user's."""
    own, others = ({c for c in some if c.startswith("keyfold_")} for some in (columns, there))
    return set(columns) == set(there) or (own == others != set())


def odd_column_names(columns: Iterable[str]) -> list[str]:
    """Names that Delta writes only with column mapping, which not every reader knows."""
    return [name for name in columns if _ODD & set(name)]


def _catalog_configured(spark: "SparkSession") -> bool:
    catalog = spark.conf.get("spark.sql.catalog.spark_catalog", "")
    own = catalog in ("", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    return not own or spark.conf.get("spark.sql.catalogImplementation", "in-memory") == "hive"


def _kept_for(retention: str) -> dict[str, str]:
    return {f"delta.{what}RetentionDuration": f"interval {retention}" for what in ("deletedFile", "log")}


def _indexed(columns: Sequence[str]) -> dict[str, str]:
    return {"delta.dataSkippingStatsColumns": ",".join(map(sql.quote_identifier, columns))}


def _measured(columns: Sequence[str]) -> dict[str, str]:
    """To compare each text with the file's smallest and largest costs a fifth of writing it."""
    if not columns:
        return {}
    return dict.fromkeys(_UNMEASURED, "false") | {f"{_UNMEASURED[0]}#{name}": "true" for name in columns}


def _is_there(file: str) -> bool:
    return not file.startswith("file:") or Path(unquote(urlparse(file).path)).exists()


def _sums(rows: "DataFrame", column: str) -> dict[str, Any]:
    """By value of the column, the sum of its rows' hashes; of NULL and of each column's name and place, too."""
    mapped = {f.name for f in rows.schema.fields if "map<" in f.dataType.simpleString()}
    cells = [F.to_json(sql.col(c)) if c in mapped else sql.col(c) for c in rows.columns]
    hashed = F.xxhash64(F.lit(json.dumps(rows.columns)), *cells, *(sql.col(c).isNull() for c in rows.columns))
    found = rows.groupBy(column).agg(F.sum(hashed.cast("decimal(20,0)")).alias("sum"), F.count("*").alias("n")).collect()
    return {row[column]: (row["sum"], row["n"]) for row in found}


def _where(column: str, values: Iterable[str]) -> str:
    return f"{sql.quote_identifier(column)} IN ({', '.join(map(sql.text_literal, values))})"


class TableUse(NamedTuple):
    """What a table is for: its name, the purpose that it keeps as a property, and the option of the conf that names it."""

    name: str
    purpose: str
    option: str
