"""How an engine reads and writes a Delta table. The commit protocol on top, in `keyfold.engine.tables`, is the same for all engines."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keyfold.core import sql
from keyfold.engine.commits import Commit
from keyfold.engine.frame import Frame

_ODD = set(" ,;{}()\n\t=")  # names with these need Delta's column mapping


class VersionMissingError(Exception):
    """Delta's log does not have the version."""


class Snapshot(NamedTuple):
    """A version of a table: its rows, its data files (`file:` and the path if local), and its columns as in Delta's log."""

    frame: Frame
    files: Callable[[], list[str]]
    columns: Callable[[], Any]


class Operation(NamedTuple):
    """What a commit of Delta's log did: its version, the operation and, of a write, the mode, such as `Append`."""

    version: int
    name: str
    mode: str | None


class Write(NamedTuple):
    """One commit.

    metadata: its user metadata. replaced: a column of text and values whose rows are replaced; None: the rows are added.
    new_columns: the rows and columns of the whole table are replaced. partition: the column by which files are put in folders.
    properties: those of a new table. indexed: columns with bounds per file (default: the first 32). rows_per_file: the rows, which
    are clustered by the partition, are written in their order, so many to each file of a partition but the last.
    """

    metadata: str
    replaced: tuple[str, Iterable[str]] | None = None
    new_columns: bool = False
    partition: str | None = None
    properties: Mapping[str, str] = {}
    indexed: Sequence[str] = ()
    rows_per_file: int | None = None


class Store(ABC):
    """Reads and writes one Delta table, in a catalog (`path` is None) or in a folder."""

    def __init__(self, name: str, path: Path | None) -> None:
        self.name, self.path = name, path
        self.at = f"delta.{sql.quote_identifier(str(path))}" if path else ".".join(map(sql.quote_identifier, name.split(".")))

    def exists(self) -> bool:
        """Whether the table exists."""
        return self.path is not None and any((self.path / "_delta_log").glob("*.json"))

    @abstractmethod
    def snapshot(self, version: int | None = None) -> Snapshot:
        """The latest version, or another one (VersionMissingError if Delta's log does not have it)."""

    @abstractmethod
    def history(self, limit: int | None = None) -> list[Commit]:
        """The commits of Delta's log, newest first."""

    @abstractmethod
    def operations(self) -> list[Operation]:
        """What the commits of Delta's log did, newest first."""

    @abstractmethod
    def appended(self, first: int, last: int) -> Frame:
        """The rows of the data files that the versions from `first` to `last` added, with the columns of the last."""

    @abstractmethod
    def table_id(self, created: Iterable[Commit]) -> str:
        """The table's id, which stays the same until a commit of `created` changes."""

    @abstractmethod
    def properties(self) -> dict[str, str]:
        """The table's properties."""

    @abstractmethod
    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Sets properties in one commit."""

    @abstractmethod
    def write(self, frame: Frame, write: Write) -> None:
        """Writes rows in one commit; creates the table if it does not exist."""


def odd_column_names(columns: Iterable[str]) -> list[str]:
    """Names that need Delta's column mapping, which not every reader supports."""
    return [name for name in columns if _ODD & set(name)]
