"""Records of commits in the table `keyfold.commits`, which keeps them after Delta has deleted them from its log.

A commit by keyfold is recorded as soon as its rows are checked. Commits by others, and those of jobs that were killed before the check,
are recorded when they are a week old or when the log no longer begins at version 0.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from keyfold.engine.columns import col, lit
from keyfold.engine.commits import Commit
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Frame

RECORDS = "keyfold.commits"
OLD = timedelta(days=7)  # well below the 30 days for which Delta keeps its log by default
_COLUMNS = (
    "table_id string, name string, version bigint, at timestamp, operation string, rows bigint, metadata string, memory string, "
    "files string, checked boolean"
)
_MEMORY = "files"  # the part of an ingest's metadata that grows with the source


class RecordsTable(Protocol):
    """The table of the records."""

    engine: Engine

    def exists(self) -> bool:
        """Whether the table exists."""

    def frame(self) -> Frame:
        """The rows of the table."""

    def append(self, frame: Frame) -> None:
        """Adds rows in one commit."""


class CommitRecords:
    """The records of the commits of one table."""

    def __init__(self, table: RecordsTable, table_id: str, name: str) -> None:
        self.table, self.id, self.name = table, table_id, name

    def read(self) -> dict[int, Commit]:
        """The recorded commits by version, without the part `files` of their metadata."""
        if not self.table.exists():
            return {}
        rows = self.table.frame().where(col("table_id") == lit(self.id))
        commits: dict[int, Commit] = {}
        for row in rows.select(Commit._fields).rows():
            commit = Commit(**row | {"metadata": json.loads(row["metadata"])})
            other = commits.get(commit.version)
            commits[commit.version] = other if other and other.checked else commit
        return commits

    def memory(self, version: int) -> dict[str, Any]:
        """The part `files` of a commit's metadata: what an ingest knows of its source files."""
        of_version = col("table_id") == lit(self.id), col("version") == lit(version), ~col("memory").is_null()
        memories = self.table.frame().where(*of_version).select(["memory"]).head(1).rows()
        return dict(json.loads(memories[0]["memory"])) if memories else {}

    def add(self, commits: Iterable[Commit]) -> None:
        """Records commits; recording one twice has no effect."""
        rows = [self._row(commit) for commit in commits]
        self.table.append(self.table.engine.rows(rows, _COLUMNS))

    def _row(self, commit: Commit) -> tuple[Any, ...]:
        metadata: Mapping[str, Any] = {k: v for k, v in commit.metadata.items() if k != _MEMORY}
        memory = json.dumps({_MEMORY: commit.metadata[_MEMORY]}) if _MEMORY in commit.metadata else None
        return (
            self.id, self.name, commit.version, commit.at, commit.operation, commit.rows, json.dumps(metadata), memory,
            commit.files, commit.checked,
        )  # fmt: skip


def merge_commits(recorded: Mapping[int, Commit], live: Iterable[Commit]) -> dict[int, Commit]:
    """Merges recorded commits with those of Delta's log. The log wins, except for `checked`, which only the records have."""
    return {**recorded} | {c.version: c._replace(checked=c.version in recorded and recorded[c.version].checked) for c in live}


def unknown_versions(recorded: Mapping[int, Commit], live: Sequence[Commit]) -> range:
    """The versions between the last recorded one and the oldest in Delta's log (`live`, newest first)."""
    first = live[-1].version
    return range(max((v for v in recorded if v < first), default=first - 1) + 1, first)
