"""What is known of a table's commits: Delta's history, which is cleaned after a while, and the records in `keyfold.commits`, which are not.

keyfold records each of its commits once it is checked. Commits of others, and those of jobs that were killed before their record, are
recorded when they are a week old or the history no longer begins at version 0. A version that neither knows may have changed any row.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core.sql import col

if TYPE_CHECKING:
    from pyspark.sql import Row

    from keyfold.engine.tables import Table

RECORDS = "keyfold.commits"
OLD = timedelta(days=7)  # well below the 30 days for which Delta keeps its log unless a table says otherwise
_COLUMNS = (
    "table_id string, name string, version bigint, at timestamp, operation string, rows bigint, metadata string, memory string, "
    "files string, checked boolean"
)
_UNCHANGING = ("OPTIMIZE", "VACUUM", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "ANALYZE", "COMPUTE", "CLUSTER BY", "REORG")
_SAME = "VACUUM START"  # the operation of versions that are known to have changed no row, and of which no more is known
_MEMORY = "files"  # the part of an ingest's metadata that grows with the source


class Commit(NamedTuple):
    """A commit: its version, Delta's own row count, what keyfold wrote into its metadata, and when.

    `files` is a digest of the table's data files after it ("" where it was not taken); `checked` says that keyfold checked its rows.
    """

    version: int
    rows: int
    metadata: dict[str, Any]
    at: datetime
    operation: str = ""
    files: str = ""
    checked: bool = False

    @property
    def changes(self) -> bool:
        """Whether it changed rows."""
        return not self.operation.startswith(_UNCHANGING)

    def touches(self, column: str, value: str) -> bool:
        """Whether it changed the rows with a value of the column that `replace` goes by; a commit that is not keyfold's changes all."""
        return self.changes and (column not in self.metadata or value in self.metadata[column])

    @classmethod
    def of(cls, row: "Row") -> "Commit":
        """From a row of DESCRIBE HISTORY."""
        rows = int((row.operationMetrics or {}).get("numOutputRows", -1))
        return cls(row.version, rows, _parsed(row.userMetadata), row.timestamp, row.operation)


class CommitLog:
    """The known commits of a table."""

    def __init__(self, commits: Iterable[Commit]) -> None:
        self.by_version = {commit.version: commit for commit in commits}
        self.latest = max(self.by_version, default=-1)

    def __iter__(self) -> Iterator[Commit]:
        """All of them, newest first."""
        return (self.by_version[version] for version in sorted(self.by_version, reverse=True))

    def back(self, version: int | None = None) -> Iterator[Commit]:
        """From a version (default: the latest) back to the first one or to one that is unknown."""
        version = self.latest if version is None else version
        while version in self.by_version:
            yield self.by_version[version]
            version -= 1

    @property
    def whole(self) -> bool:
        """Whether no commit is unknown."""
        return len(self.by_version) == self.latest + 1

    def last_change(self) -> int:
        """The last version that changed rows; where that is unknown, the first one of which it is known that none did since."""
        version = self.latest
        for commit in self.back():
            version = commit.version
            if commit.changes:
                break
        return version

    def changed_since(self, version: int) -> bool:
        """Whether a later commit changed rows, or may have."""
        return any(v not in self.by_version or self.by_version[v].changes for v in range(version + 1, self.latest + 1))

    def last_of(self, column: str, values: Iterable[str], version: int | None = None) -> dict[str, Commit | int]:
        """By value the commit, up to a version, that touched it last; where that is unknown, the first version known since."""
        found: dict[str, Commit | int] = {}
        left, first = set(values), self.latest if version is None else version
        for commit in self.back(version):
            first = commit.version
            touched = {value for value in left if commit.touches(column, value)}
            found |= dict.fromkeys(touched, commit)
            left -= touched
            if not left:
                break
        return found | dict.fromkeys(left, first)

    def standing(self, column: str, value: str) -> int | None:
        """The version that the rows of a value are of, but for what was undone; None where that is unknown."""
        before = self.latest + 1
        for commit in self.back():
            if commit.version < before and commit.touches(column, value):
                if "undone" not in commit.metadata:
                    return commit.version
                before = commit.metadata["undone"]
        return None

    def own(self, column: str, value: str) -> tuple[bool, int | None]:
        """Whether keyfold's commit is known that the rows of a value are of, and the version before the first change by others since.

        None where nobody else changed them. What was undone does not count.
        """
        before, others = self.latest + 1, None
        for commit in self.back():
            if commit.version >= before or not commit.touches(column, value):
                continue
            if column not in commit.metadata and "undone" not in commit.metadata:
                others = commit.version - 1
            elif "undone" in commit.metadata:
                before = commit.metadata["undone"]
            else:
                return True, others
        return False, others

    def proves(self, key: Sequence[str], version: int | None = None) -> bool:
        """Whether every commit up to a version is known, and proved the key to be unique."""
        commits = [*self.back(version)]
        first = commits[-1].version if commits else None
        return first == 0 and all(c.metadata.get("unique") == key for c in commits if c.changes)

    def before(self, commit: Commit, column: str, value: str) -> int:
        """The last version before a commit whose rows with a value are not those of an attempt that was never checked; -1: none."""
        version, recorded = commit.version - 1, any(c.checked for c in self)
        for former in self.back(version):
            if former.touches(column, value):
                if not _rejected(former, commit.metadata.get("run_id"), recorded=recorded):
                    return version
                version = former.version - 1
        return version


def _rejected(commit: Commit, run_id: str | None, *, recorded: bool) -> bool:
    """Whether it was committed, and its job ended before the check."""
    of_this_run = run_id is not None and commit.metadata.get("run_id") == run_id
    return not commit.checked and (of_this_run or (recorded and bool(commit.metadata.get("recorded"))))


class CommitRecords:
    """The records of the commits of one table."""

    def __init__(self, table: "Table", table_id: str, name: str) -> None:
        self.table, self.id, self.name = table, table_id, name

    def read(self) -> dict[int, Commit]:
        """By version; without the memory of files."""
        if not self.table.exists():
            return {}
        rows = self.table.read().where(col("table_id") == self.id)
        found: dict[int, Commit] = {}
        for row in rows.select("version", "rows", "metadata", "at", "operation", "files", "checked").collect():
            other = found.get(row.version)
            commit = Commit(row.version, row.rows, json.loads(row.metadata), row.at, row.operation, row.files, row.checked)
            found[row.version] = other if other and other.checked else commit
        return found

    def memory(self, version: int) -> dict[str, Any]:
        """What a commit's metadata say of files."""
        rows = self.table.read().where((col("table_id") == self.id) & (col("version") == version))
        found = rows.where("memory is not null").select("memory").take(1)
        return dict(json.loads(found[0].memory)) if found else {}

    def add(self, commits: Iterable[Commit]) -> None:
        """Records commits; one that is recorded twice is one."""
        rows = [self._row(commit) for commit in commits]
        self.table.append(self.table.spark.createDataFrame(rows, _COLUMNS).coalesce(1))

    def _row(self, commit: Commit) -> tuple[Any, ...]:
        metadata: Mapping[str, Any] = {k: v for k, v in commit.metadata.items() if k != _MEMORY}
        memory = json.dumps({_MEMORY: commit.metadata[_MEMORY]}) if _MEMORY in commit.metadata else None
        return (
            self.id, self.name, commit.version, commit.at, commit.operation, commit.rows, json.dumps(metadata), memory,
            commit.files, commit.checked,
        )  # fmt: skip


def merge_commits(recorded: Mapping[int, Commit], live: Iterable[Commit]) -> dict[int, Commit]:
    """Both; what the history still has is taken from there."""
    return {**recorded} | {c.version: c._replace(checked=c.version in recorded and recorded[c.version].checked) for c in live}


def unknown_versions(recorded: Mapping[int, Commit], live: Sequence[Commit]) -> range:
    """The unknown versions just before those that the history, newest first, still has; empty where there are none."""
    first = live[-1].version
    return range(max((v for v in recorded if v < first), default=first - 1) + 1, first)


def unchanged_commits(versions: Iterable[int], at: datetime) -> list[Commit]:
    """Commits of which only that is known."""
    return [Commit(version, 0, {}, at, _SAME) for version in versions]


def _parsed(metadata: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(metadata or "{}")
        return parsed.get("keyfold", {}) if isinstance(parsed, dict) else {}
    except ValueError:
        return {}
