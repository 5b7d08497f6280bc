"""Reading Delta tables: rows at a version, the history of commits, and which commit changed which rows."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core.digests import digest
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.commit_records import OLD, CommitRecords, RecordsTable, merge_commits, unknown_versions
from keyfold.engine.commits import Commit, CommitLog, unchanged_commits
from keyfold.engine.engine import Engine, as_engine
from keyfold.engine.frame import Frame
from keyfold.engine.row_sums import row_sums
from keyfold.engine.spark_frame import SparkFrame
from keyfold.engine.store import Snapshot, VersionMissingError
from keyfold.errors import ConfError, DataError, suggestion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class TableVersion(NamedTuple):
    """Pins a table's rows: the table's id and its last version that changed data."""

    id: str
    version: int


class VersionedTable:
    """A Delta table to read from, in a catalog (`path` is None) or in a folder."""

    def __init__(
        self, engine: "Engine | SparkSession", name: str, path: Path | None, records: RecordsTable | None = None
    ) -> None:  # fmt: skip
        self.engine, self.name, self._records = as_engine(engine), name, records
        self.store = self.engine.store(name, path)

    @property
    def spark(self) -> "SparkSession":
        """Spark's session (ConfError if the engine is another)."""
        return self.engine.spark

    @property
    def path(self) -> Path | None:
        """The table's folder; None if it is in a catalog."""
        return self.store.path

    @property
    def at(self) -> str:
        """The table in Spark SQL."""
        return self.store.at

    def exists(self) -> bool:
        """Whether the table exists."""
        return self.store.exists()

    def read(self, version: int | None = None) -> "DataFrame":
        """`frame` as a DataFrame (ConfError if the engine is not Spark)."""
        rows = self.frame(version)
        if isinstance(rows, SparkFrame):
            return rows.data
        raise ConfError(f"table `{self.name}` must be read by Spark here, and the engine is `embedded`; write `engine: spark`")

    def frame(self, version: int | None = None) -> Frame:
        """The rows of the latest or of another version (DataError if the table or the version does not exist)."""
        return self._snapshot(version).frame

    def files(self, version: int | None = None) -> list[str]:
        """Paths, or URIs, of the files of the latest or of another version (DataError as for `frame`)."""
        return [file.removeprefix("file:") for file in self._snapshot(version).files()]

    def _snapshot(self, version: int | None) -> Snapshot:
        self._require()
        if version is None:
            return self.store.snapshot()
        try:
            snapshot = self.store.snapshot(version)
            if self.path is None or all(map(_file_exists, snapshot.files())):
                return snapshot
        except VersionMissingError:
            if version > (latest := self.history(1)[0].version):
                raise DataError(f"table `{self.name}` has no version {version} yet; the latest is {latest}") from None
        if self.log().changed_since(version):
            raise self._gone(version)
        return self.store.snapshot()  # has the same rows, in other files or under a later version

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
        return self.store.properties()

    def history(self, limit: int | None = None) -> list[Commit]:
        """The commits of Delta's log, newest first."""
        return self.store.history(limit)

    def log(self, *, recorded: bool = False) -> CommitLog:
        """The known commits. With `recorded`, `checked` is known too."""
        live = self.history()
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
        """Whether the data files of a recorded commit are those at the oldest commit in Delta's log: nothing changed in between."""
        vectors = [value for name, value in self.properties().items() if "deletionvectors" in name.lower()]
        if not recorded.files or {*vectors} & {"true", "supported"}:
            return False
        return recorded.files == self._files_digest(live[-1].version if any(c.changes for c in live[:-1]) else None)

    def _files_digest(self, version: int | None) -> str:
        """A digest of the columns and of the names of the data files, which hold UUIDs."""
        try:
            snapshot = self.store.snapshot(version)
        except VersionMissingError:
            return ""
        return digest([snapshot.columns(), sorted(file.rpartition("/")[2] for file in snapshot.files())])

    def version(self) -> TableVersion:
        """The table's id and its last version that changed data (DataError if it does not exist)."""
        self._require()
        log = self.log()
        return TableVersion(self._id([*log]), log.last_change())

    def _id(self, commits: list[Commit]) -> str:
        return self.store.table_id(c for c in commits if c is commits[-1] or "REPLACE" in c.operation)

    def commits(self) -> Iterator[Commit]:
        """keyfold's own commits, newest first; recorded ones lack the part `files` of their metadata, see `memory`."""
        return (commit for commit in self.log() if commit.metadata)

    def memory(self, commit: Commit) -> dict[str, Any]:
        """The metadata of a commit, with the part `files`."""
        if self._records is None or "files" in commit.metadata:
            return commit.metadata
        return commit.metadata | CommitRecords(self._records, self.version().id, self.name).memory(commit.version)

    def versions_of(self, column: str, values: Iterable[str], version: int) -> dict[str, int]:
        """For each value of the replaced column, the last version up to `version` that may have changed its rows."""
        commits = self.log().last_of(column, values, version)
        return {value: last.version if isinstance(last, Commit) else last for value, last in commits.items()}

    def changed_by_others(self, column: str, values: Iterable[str]) -> set[str]:
        """The values of the replaced column whose rows differ, or may differ, from those that keyfold committed."""
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
                former, current = (row_sums(self.frame(v).where(col(column).is_in(suspects)), column) for v in (version, None))
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
        """Whether a period (or a value of another `column`) has exactly this many rows, all written by one run."""
        if not self.exists():
            return False
        counts = self.frame().where(col(column) == lit(value)).group(["run_id"], count=count_rows()).rows()
        return [(row["run_id"], row["count"]) for row in counts] == ([(run_id, rows)] if rows else [])


def _file_exists(file: str) -> bool:
    return not file.startswith("file:") or Path(file.removeprefix("file:")).exists()
