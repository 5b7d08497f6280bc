"""Delta tables and their commit protocol.

A run replaces the rows of its periods in one commit, whose metadata hold the run id and the expected row counts. The run succeeds only
if Delta's own count of the rows agrees; otherwise the former rows of the periods are restored.
"""

import fcntl
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core import sql
from keyfold.engine.columns import col
from keyfold.engine.commit_records import RECORDS, CommitRecords
from keyfold.engine.commits import Commit
from keyfold.engine.engine import Engine, SparkEngine, as_engine, frame_of
from keyfold.engine.frame import Frame
from keyfold.engine.store import Write
from keyfold.engine.table_versions import VersionedTable
from keyfold.errors import DataError, KeyfoldError, PromiseError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


PURPOSE = "keyfold.purpose"


class TableUse(NamedTuple):
    """The use of a table: its name, its purpose (a property of the table), and the option of the conf that names it."""

    name: str
    purpose: str
    option: str


class Table(VersionedTable):
    """A Delta table to read and to write. With `use`, it can be written for that use only."""

    def __init__(
        self, engine: "Engine | SparkSession", name: str, path: Path | None, use: TableUse | None = None, records: "Table | None" = None
    ) -> None:  # fmt: skip
        super().__init__(engine, name, path, records)
        self.use = use

    def append(self, frame: "Frame | DataFrame", **metadata: Any) -> None:
        """Adds rows in one commit."""
        with self.lock():
            self._save(frame_of(frame), Write(_user_metadata(metadata)))

    def replace(
        self, frame: "Frame | DataFrame", column: str, values: Mapping[str, int], *, partition: bool = True,
        retention: str | None = None, indexed: Sequence[str] = (), schema: bool = False, check: Callable[[], None] | None = None,
        recorded: bool = False, rows_per_file: int | None = None, **metadata: Any,
    ) -> Commit:  # fmt: skip
        """Replaces, in one commit, the rows whose `column` is one of `values`, which maps each value to its number of new rows.

        A new table gets `retention` and, for `indexed` columns, bounds per file (default: the first 32 columns). With `schema`, a
        frame with other columns replaces the whole table. `check` is called after the commit. With `recorded`, the
        metadata are kept in `keyfold.commits` too. `rows_per_file`: see `Write`.

        Raises PromiseError if Delta counts another number of rows, and any error of `check`; both restore the former rows.
        """
        frame, attempt = frame_of(frame), uuid.uuid4().hex
        metadata |= {"attempt": attempt, column: dict(values)} | ({"recorded": True} if recorded else {})
        write = Write(
            _user_metadata(metadata), (column, values), partition=column if partition else None, indexed=indexed,
            properties=_creation_properties(retention, indexed), rows_per_file=rows_per_file,
        )  # fmt: skip
        with self.lock():
            if self.exists():
                self.log()  # records the commits that Delta may delete from its log with this one
                write = write._replace(new_columns=schema and self.frame().columns != frame.columns)
            self._save(frame, write)
            commit = self._commit_of(attempt)
            try:
                self._check_rows(commit, sum(values.values()))
                if check:
                    check()
            except KeyfoldError:
                undone = self._put_back(write, commit)
                if recorded:
                    self._record(undone)
                raise
            if recorded:
                self._record(commit)
        return commit

    def _commit_of(self, attempt: str) -> Commit:
        return next(c for c in self.history() if c.metadata.get("attempt") == attempt)

    def _check_rows(self, commit: Commit, expected: int) -> None:
        if commit.rows != expected:
            raise PromiseError(
                f"table `{self.name}`: {expected:,} rows were expected, and Delta committed {commit.rows:,}; "
                "the former rows were put back. Please run again, and report this"
            )

    def _record(self, commit: Commit) -> None:
        """Records a checked commit, the commits by others since keyfold's last one, and the commit that it undid, if any."""
        if self._records is None:
            return
        live, undone = self.history(), commit.metadata.get("undone")
        earlier = takewhile(lambda c: not c.metadata or c.version == undone, (c for c in live if c.version < commit.version))
        checked = commit._replace(checked=True, files=self._files_digest(commit.version))
        CommitRecords(self._records, self._id(live), self.name).add([checked, *earlier])

    def undo(self, commit: Commit, column: str) -> Commit:
        """Restores, in one commit, the rows that a checked commit replaced (DataError if they were changed since or are gone)."""
        values = commit.metadata[column]
        with self.lock():
            log = self.log(recorded=True)
            for value in values:
                if log.version_in_effect(column, value) != commit.version:
                    raise DataError(
                        f"table `{self.name}`: the rows of period {value} were changed after version {commit.version}, so "
                        "that version cannot be undone; nothing was changed"
                    )
            key = commit.metadata.get("unique")
            proven = {"unique": key} if key and log.proves(key, commit.version - 1) else {}
            undone = self._put_back(Write("", (column, values)), commit, **proven)
            self._record(undone)
        return undone

    def _put_back(self, write: Write, commit: Commit, **metadata: Any) -> Commit:
        # RESTORE would undo other periods too.
        assert write.replaced
        column, values = write.replaced
        former = self.frame(commit.version - 1) if write.new_columns else self._former_rows(column, values, commit)
        attempt = uuid.uuid4().hex
        metadata |= {"put_back": commit.metadata.get("run_id"), "undone": commit.version, "attempt": attempt}
        metadata |= {} if write.new_columns else {column: list(values)}
        self._save(former, write._replace(metadata=_user_metadata(metadata)))
        return self._commit_of(attempt)

    def _former_rows(self, column: str, values: Iterable[str], commit: Commit) -> Frame:
        log = self.log(recorded=True)
        by_version: dict[int, list[str]] = {}
        for value in values:
            by_version.setdefault(log.version_before(commit, column, value), []).append(value)
        parts = [self.frame(v).where(col(column).is_in(group)) for v, group in by_version.items() if v >= 0]
        return parts[0].union(*parts[1:]) if parts else self.frame().head(0)

    def claim(self, columns: Sequence[str] | None = None) -> None:
        """Raises DataError if the table has another purpose. A table without a purpose gets this one if its columns fit."""
        if self.use is None or not self.exists():
            return
        purpose = self.properties().get(PURPOSE)
        if purpose is None and columns is not None:
            if not _same_kind(columns, self.frame().columns):
                raise DataError(
                    f"table `{self.name}` has other columns than a table of {self.use.purpose}; choose another name ({self.use.option})"
                )
            self.describe({PURPOSE: self.use.purpose})
        elif purpose not in (None, self.use.purpose):
            raise DataError(
                f"table `{self.name}` is for {purpose}, and not for {self.use.purpose}; choose another name ({self.use.option})"
            )

    def keep_for(self, retention: str) -> None:
        """Sets how long Delta keeps former rows and its log."""
        self.describe(_retention_properties(retention))

    def describe(self, properties: Mapping[str, str]) -> None:
        """Sets properties; does nothing if they are set already."""
        if properties.items() - self.properties().items():
            self.store.set_properties(properties)

    def _save(self, frame: Frame, write: Write) -> None:
        new = not self.exists()
        if not new:
            self.claim(frame.columns)
        self.store.write(frame, write)
        if new and self.use:
            self.describe({PURPOSE: self.use.purpose})

    @contextmanager
    def lock(self, what: str = "", say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Keeps other processes of this machine from writing the table (or its period `what`), which Delta does not do on a local disk.

        `say` is called with a message if this process has to wait.
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
                    say(f"another job is writing `{self.name}`{f', period {what}' if what else ''}; waiting until it is done")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Tables:
    """Finds tables by `schema.table`: in the catalog if one is configured, else below `home`."""

    def __init__(self, engine: "Engine | SparkSession", home: Path) -> None:
        self.engine, self.home = as_engine(engine), home
        self.in_catalog = isinstance(self.engine, SparkEngine) and _catalog_configured(self.engine.spark)

    def table(self, name: str) -> Table:
        """The table of that name, which need not exist."""
        parts = name.split(".")
        catalog = self.in_catalog or len(parts) > 2
        records = None if name == RECORDS else self.table(RECORDS)
        return Table(self.engine, name, None if catalog else self.home.joinpath("tables", *parts), records=records)

    def used(self, use: TableUse) -> Table:
        """The table of a use, which need not exist. It can be written for that use only."""
        table = self.table(use.name)
        table.use = use
        return table


def _same_kind(columns: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two tables have the same columns or, besides a user's columns, the same ones of keyfold."""
    own, others_own = ({c for c in names if c.startswith("keyfold_")} for names in (columns, others))
    return set(columns) == set(others) or (own == others_own != set())


def _catalog_configured(spark: "SparkSession") -> bool:
    catalog = spark.conf.get("spark.sql.catalog.spark_catalog", "")
    default = catalog in ("", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    return not default or spark.conf.get("spark.sql.catalogImplementation", "in-memory") == "hive"


def _creation_properties(retention: str | None, indexed: Sequence[str]) -> dict[str, str]:
    index = {"delta.dataSkippingStatsColumns": ",".join(map(sql.quote_identifier, indexed))} if indexed else {}
    return index | (_retention_properties(retention) if retention else {})


def _retention_properties(retention: str) -> dict[str, str]:
    return {f"delta.{what}RetentionDuration": f"interval {retention}" for what in ("deletedFile", "log")}


def _user_metadata(metadata: Mapping[str, Any]) -> str:
    return json.dumps({"keyfold": metadata}, sort_keys=True)
