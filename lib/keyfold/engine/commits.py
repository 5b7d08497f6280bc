"""The known commits of a table, and what they tell about its rows.

A version whose commit is unknown counts as one that may have changed any row.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

_UNCHANGING = ("OPTIMIZE", "VACUUM", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "ANALYZE", "COMPUTE", "CLUSTER BY", "REORG")
_ROWS = "numOutputRows", "num_added_rows"  # in the metrics of Spark and of delta-rs
_UNCHANGED = "VACUUM START"  # the operation recorded for versions of which nothing is known but that they changed no row


class Commit(NamedTuple):
    """A commit: its version, Delta's count of rows written, keyfold's metadata, and its time.

    files: digest of the table's data files after the commit; "" if it was not computed. checked: whether keyfold has checked the rows.
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
        """Whether the commit changed rows."""
        return not self.operation.startswith(_UNCHANGING)

    def touches(self, column: str, value: str) -> bool:
        """Whether the commit may have changed rows with this value of the replaced column; a commit by others may change all."""
        return self.changes and (column not in self.metadata or value in self.metadata[column])

    @classmethod
    def of(
        cls, version: int, at: datetime, operation: str, user_metadata: str | None, metrics: Mapping[str, Any]
    ) -> "Commit":  # fmt: skip
        """The commit of an entry in Delta's log."""
        none = 0 if metrics.get("numFiles") == "0" else -1  # Spark does not count the rows of a commit without files
        rows = next((int(metrics[name]) for name in _ROWS if name in metrics), none)
        return cls(version, rows, _keyfold_metadata(user_metadata), at.astimezone(UTC), operation)


def _keyfold_metadata(user_metadata: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(user_metadata or "{}")
        return parsed.get("keyfold", {}) if isinstance(parsed, dict) else {}
    except ValueError:
        return {}


def unchanged_commits(versions: Iterable[int], at: datetime) -> list[Commit]:
    """Commits for versions of which nothing is known but that they changed no row."""
    return [Commit(version, 0, {}, at, _UNCHANGED) for version in versions]


class CommitLog:
    """The known commits of a table."""

    def __init__(self, commits: Iterable[Commit]) -> None:
        self.by_version = {commit.version: commit for commit in commits}
        self.latest = max(self.by_version, default=-1)

    def __iter__(self) -> Iterator[Commit]:
        """All known commits, newest first."""
        return (self.by_version[version] for version in sorted(self.by_version, reverse=True))

    def backwards(self, version: int | None = None) -> Iterator[Commit]:
        """Commits from a version (default: the latest) back to version 0 or to the first unknown commit."""
        version = self.latest if version is None else version
        while version in self.by_version:
            yield self.by_version[version]
            version -= 1

    @property
    def complete(self) -> bool:
        """Whether every commit is known."""
        return len(self.by_version) == self.latest + 1

    def last_change(self) -> int:
        """The last version that changed rows; if its commit is unknown, the earliest version known to have the current rows."""
        version = self.latest
        for commit in self.backwards():
            version = commit.version
            if commit.changes:
                break
        return version

    def changed_since(self, version: int) -> bool:
        """Whether a later commit changed rows or may have changed rows."""
        return any(v not in self.by_version or self.by_version[v].changes for v in range(version + 1, self.latest + 1))

    def last_of(self, column: str, values: Iterable[str], version: int | None = None) -> dict[str, Commit | int]:
        """By value, the last commit up to a version that touched it; the earliest version with a known commit if that is not known."""
        last: dict[str, Commit | int] = {}
        left, first = set(values), self.latest if version is None else version
        for commit in self.backwards(version):
            first = commit.version
            touched = {value for value in left if commit.touches(column, value)}
            last |= dict.fromkeys(touched, commit)
            left -= touched
            if not left:
                break
        return last | dict.fromkeys(left, first)

    def version_in_effect(self, column: str, value: str) -> int | None:
        """The version that wrote the current rows of a value, undone versions excluded; None if it is unknown."""
        before = self.latest + 1
        for commit in self.backwards():
            if commit.version < before and commit.touches(column, value):
                if "undone" not in commit.metadata:
                    return commit.version
                before = commit.metadata["undone"]
        return None

    def changes_by_others(self, column: str, value: str) -> tuple[bool, int | None]:
        """Whether keyfold's last commit of a value is known, and the version before the first later change by others.

        The version is None if nobody else has changed the value since. Undone versions do not count.
        """
        before, unchanged = self.latest + 1, None
        for commit in self.backwards():
            if commit.version >= before or not commit.touches(column, value):
                continue
            if column not in commit.metadata and "undone" not in commit.metadata:
                unchanged = commit.version - 1
            elif "undone" in commit.metadata:
                before = commit.metadata["undone"]
            else:
                return True, unchanged
        return False, unchanged

    def proves(self, key: Sequence[str], version: int | None = None) -> bool:
        """Whether all commits up to a version are known and each of them proved the key unique."""
        commits = [*self.backwards(version)]
        first = commits[-1].version if commits else None
        return first == 0 and all(c.metadata.get("unique") == key for c in commits if c.changes)

    def version_before(self, commit: Commit, column: str, value: str) -> int:
        """The version with the former rows of a value, to undo a commit; -1 if there were none. Skips versions that were never checked."""
        version, recorded = commit.version - 1, any(c.checked for c in self)
        for former in self.backwards(version):
            if former.touches(column, value):
                if not _never_checked(former, commit.metadata.get("run_id"), recorded=recorded):
                    return version
                version = former.version - 1
        return version


def _never_checked(commit: Commit, run_id: str | None, *, recorded: bool) -> bool:
    """Whether the job was killed between the commit and the check of its rows."""
    of_this_run = run_id is not None and commit.metadata.get("run_id") == run_id
    return not commit.checked and (of_this_run or (recorded and bool(commit.metadata.get("recorded"))))
