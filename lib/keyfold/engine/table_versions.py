"""Reading Delta tables: rows at a version, the history of commits, and which commit changed which rows."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from keyfold.core import sql
from keyfold.core.digests import digest
from keyfold.engine import functions as F
from keyfold.engine.commit_records import OLD, CommitRecords, RecordsTable, merge_commits, unknown_versions
from keyfold.engine.commits import Commit, CommitLog, unchanged_commits
from keyfold.errors import DataError, suggestion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_ids: dict[tuple[Any, ...], str] = {}
_histories: "dict[str, tuple[list[tuple[str, int]], list[Row]]]" = {}


class TableVersion(NamedTuple):
    """Pins a table's rows: the table's id and its last version that changed data."""

    id: str
    version: int


class VersionedTable:
    """A Delta table to read from, in a catalog (`path` is None) or in a folder."""

    def __init__(self, spark: "SparkSession", name: str, path: Path | None, records: RecordsTable | None = None) -> None:
        self.spark, self.name, self.path, self._records = spark, name, path, records
        self.at = f"delta.{sql.quote_identifier(str(path))}" if path else ".".join(map(sql.quote_identifier, name.split(".")))

    def exists(self) -> bool:
        """Whether the table exists."""
        return any((self.path / "_delta_log").glob("*.json")) if self.path else self.spark.catalog.tableExists(self.at)

    def read(self, version: int | None = None) -> "DataFrame":
        """The rows, now or at a version (DataError if the table or the version does not exist)."""
        self._require()
        if version is None:
            return self._load()
        try:
            rows = self._load(version)
            if self.path is None or all(map(_file_exists, rows.inputFiles())):
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

    def _require(self) -> None:
        if not self.exists():
            siblings = [p.name for p in self.path.parent.glob("*")] if self.path else []
            raise DataError(
                f"there is no table `{self.name}`{suggestion(self.name.split('.')[-1], siblings)}; run `ingest` first"
            )

    def _gone(self, version: int) -> DataError:
        kept = self.properties().get("delta.deletedFileRetentionDuration", "interval 1 week").removeprefix("interval ")
        first = self.history()[-1].version
        why = f"VACUUM takes rows that were replaced more than {kept} ago (data.retention)"
        if version < first:
            why = f"Delta's log was cleaned up to version {first} (delta.logRetentionDuration), and rows may have changed since"
        return DataError(
            f"version {version} of table `{self.name}` is gone: {why}; run the job on the table as it is, or ingest those files again"
        )

    def properties(self) -> dict[str, str]:
        """The table's properties (DataError if it does not exist)."""
        self._require()
        return {row.key: row.value for row in self.spark.sql(f"SHOW TBLPROPERTIES {self.at}").collect()}

    def history(self, limit: int | None = None) -> "list[Row]":
        """Delta's history, newest first; of a table in a folder it is kept until a file of the log is added, gone or touched."""
        if self.path is None:
            return self.spark.sql(f"DESCRIBE HISTORY {self.at}" + (f" LIMIT {limit}" if limit else "")).collect()
        files = _times_of_change(self.path / "_delta_log")
        if not files or _histories.get(self.at, ([], []))[0] != files:
            _histories[self.at] = files, self.spark.sql(f"DESCRIBE HISTORY {self.at}").collect()
        return _histories[self.at][1][:limit]

    def log(self, *, recorded: bool = False) -> CommitLog:
        """The known commits; with `recorded`, also which of them were checked."""
        live = [Commit.of(row) for row in self.history()]
        young = live[-1].version == 0 and datetime.now(live[-1].at.tzinfo) - live[-1].at < OLD
        if self._records is None or (young and not recorded):
            return CommitLog(live)
        records = CommitRecords(self._records, self._id(live), self.name)
        known = records.read()
        unrecorded = [] if young else [c for c in live if c.version not in known]
        unknown = unknown_versions(known, live)
        if unknown and self._same_files(known[unknown[0] - 1], live):
            unrecorded += unchanged_commits(unknown, live[-1].at)
        if unrecorded:
            if (newest := unrecorded[0]).version == live[0].version:
                unrecorded[0] = newest._replace(files=self._files_digest(newest.version))
            records.add(unrecorded)
        return CommitLog(merge_commits(known | {c.version: c for c in unrecorded}, live).values())

    def _same_files(self, recorded: Commit, live: list[Commit]) -> bool:
        """Whether the rows before the oldest live commit are in the files of a recorded commit, so that none changed in between."""
        vectors = [value for name, value in self.properties().items() if "deletionvectors" in name.lower()]
        if not recorded.files or {*vectors} & {"true", "supported"}:
            return False
        return recorded.files == self._files_digest(live[-1].version if any(c.changes for c in live[:-1]) else None)

    def _files_digest(self, version: int | None) -> str:
        """A digest of the columns and of the data files' names, each of which has a UUID."""
        try:
            rows = self._load(version)
            return digest([rows.schema.jsonValue(), sorted(file.rpartition("/")[2] for file in rows.inputFiles())])
        except Exception as error:
            if "DELTA_VERSION_NOT_FOUND" in str(error):
                return ""
            raise

    def version(self) -> TableVersion:
        """The table's id and its last version that changed data (DataError if it does not exist)."""
        self._require()
        log = self.log()
        return TableVersion(self._id([*log]), log.last_change())

    def _id(self, commits: list[Commit]) -> str:
        # Cached until the table is created anew: DESCRIBE DETAIL has Delta read its whole state.
        created = (self.at, *(c.at for c in commits if c is commits[-1] or "REPLACE" in c.operation))
        if created not in _ids:
            _ids[created] = self._id_in_log() or self.spark.sql(f"DESCRIBE DETAIL {self.at}").collect()[0].id
        return _ids[created]

    def _id_in_log(self) -> str | None:
        for file in sorted((self.path / "_delta_log").glob("*.json"), reverse=True) if self.path else ():
            for line in file.read_text("utf-8").splitlines():
                if line.startswith('{"metaData"'):
                    return str(json.loads(line)["metaData"]["id"])
        return None

    def commits(self) -> Iterator[Commit]:
        """keyfold's own commits, newest first; those that are only in the records come without their memory of files."""
        return (commit for commit in self.log() if commit.metadata)

    def memory(self, commit: Commit) -> dict[str, Any]:
        """The metadata of a commit with its memory of files."""
        if self._records is None or "files" in commit.metadata:
            return commit.metadata
        return commit.metadata | CommitRecords(self._records, self.version().id, self.name).memory(commit.version)

    def versions_of(self, column: str, values: Iterable[str], version: int) -> dict[str, int]:
        """By value of the replaced column, the last version up to `version` that changed it; a commit by others changes all values."""
        commits = self.log().last_of(column, values, version)
        return {value: last.version if isinstance(last, Commit) else last for value, last in commits.items()}

    def changed_by_others(self, column: str, values: Iterable[str]) -> set[str]:
        """The values of the replaced column whose rows differ, or may differ, from what keyfold committed."""
        log, by_version = self.log(), defaultdict[int, list[str]](list)
        changed = set()
        for value in values:
            known, unchanged = log.changes_by_others(column, value)
            if not known:
                changed.add(value)
            elif unchanged is not None:
                by_version[unchanged].append(value)
        for version, suspects in by_version.items():
            try:
                former, current = (
                    _row_sums(self.read(v).where(sql.is_one_of(column, suspects)), column) for v in (version, None)
                )
                changed |= {value for value in suspects if former.get(value) != current.get(value)}
            except Exception as error:
                if not isinstance(error, DataError) and "FILE_NOT_EXIST" not in str(error):
                    raise
                changed |= {*suspects}  # the former rows are gone
        return changed

    def unique(self, key: Sequence[str], version: int | None = None) -> bool:
        """Whether the commits up to a version prove the key unique."""
        return self.log().proves(key, version)

    def holds(self, value: str, run_id: str, rows: int, column: str = "period") -> bool:
        """Whether the rows of a period, or of another `column`'s value, are all of one run, and this many."""
        if not self.exists():
            return False
        counts = self.read().where(sql.col(column) == value).groupBy("run_id").count().collect()
        return [(row["run_id"], row["count"]) for row in counts] == ([(run_id, rows)] if rows else [])


def _times_of_change(folder: Path) -> list[tuple[str, int]]:
    """Files and when they were changed; empty if one is gone meanwhile."""
    try:
        return sorted((file.name, file.stat().st_mtime_ns) for file in os.scandir(folder))
    except FileNotFoundError:
        return []


def _file_exists(file: str) -> bool:
    return not file.startswith("file:") or Path(unquote(urlparse(file).path)).exists()


def _row_sums(rows: "DataFrame", column: str) -> dict[str, Any]:
    """By value of the column, the number of rows and the sum of their hashes, which take in NULLs and the columns' names and order."""
    maps = {f.name for f in rows.schema.fields if "map<" in f.dataType.simpleString()}
    cells = [F.to_json(sql.col(c)) if c in maps else sql.col(c) for c in rows.columns]
    hashed = F.xxhash64(F.lit(json.dumps(rows.columns)), *cells, *(sql.col(c).isNull() for c in rows.columns))
    sums = rows.groupBy(column).agg(F.sum(hashed.cast("decimal(20,0)")).alias("sum"), F.count("*").alias("n")).collect()
    return {row[column]: (row["sum"], row["n"]) for row in sums}
