"""Delta tables: where they are, and the commit protocol.

A run replaces the rows of its periods in one commit, whose metadata hold the run id and the expected row counts. Delta's own count of
the rows is compared with these before the run counts as done; if they differ, the periods' former rows are put back.
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
from keyfold.engine.commit_records import RECORDS, CommitRecords
from keyfold.engine.commits import Commit
from keyfold.engine.session import temporary_settings
from keyfold.engine.table_versions import VersionedTable
from keyfold.errors import DataError, KeyfoldError, PromiseError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_UNSORTED = {"spark.sql.maxConcurrentOutputFileWriters": "8"}  # else Spark sorts rows by a partition column of one value
_STATISTICS = "parquet.column.statistics.enabled", "parquet.size.statistics.enabled"
PURPOSE = "keyfold.purpose"
_ODD = set(" ,;{}()\n\t=")  # names with these need Delta's column mapping


class TableUse(NamedTuple):
    """The use of a table: its name, its purpose (a property of the table), and the option of the conf that names it."""

    name: str
    purpose: str
    option: str


class Table(VersionedTable):
    """A Delta table to read and to write; `use` is what it may be written for (default: anything)."""

    def __init__(
        self, spark: "SparkSession", name: str, path: Path | None, use: TableUse | None = None, records: "Table | None" = None
    ) -> None:  # fmt: skip
        super().__init__(spark, name, path, records)
        self.use = use

    def append(self, frame: "DataFrame", **metadata: Any) -> None:
        """Adds rows in one commit."""
        with self.lock():
            self._save(frame.write.format("delta").mode("append"), frame, metadata)

    def replace(
        self, frame: "DataFrame", column: str, values: Mapping[str, int], *, partition: bool = True,
        retention: str | None = None, indexed: Sequence[str] = (), schema: bool = False, check: Callable[[], None] | None = None,
        recorded: bool = False, **metadata: Any,
    ) -> Commit:  # fmt: skip
        """Replaces, in one commit, the rows whose `column` is one of `values`, which maps each value to its number of new rows.

        A new table gets `retention` and, for `indexed` columns, bounds per file (default: the first 32 columns). With `schema`, a
        frame with other columns replaces the whole table. `check` looks at the table after the commit. `recorded` keeps the
        metadata beyond Delta's history.

        PromiseError if Delta counts other rows than expected, and whatever `check` raises; the former rows are then put back.
        """
        attempt = uuid.uuid4().hex
        metadata |= {"attempt": attempt, column: dict(values)} | ({"recorded": True} if recorded else {})
        with self.lock():
            new = not self.exists()
            if not new:
                self.log()  # records the commits that Delta may clean up with this one
            new_schema = not new and schema and self.read().columns != frame.columns
            writer = self._replacing(frame, column, values, new_schema=new_schema)
            if new:
                writer = frame.write.format("delta").mode("overwrite").options(**_creation_options(retention, indexed))
            with temporary_settings(self.spark, _UNSORTED | _parquet_statistics(indexed)):
                self._save(writer.partitionBy(column) if partition else writer, frame, metadata)
            commit = self._commit_of(attempt)
            try:
                self._check_rows(commit, sum(values.values()))
                if check:
                    check()
            except KeyfoldError:
                undone = self._put_back(column, values, commit, new_schema=new_schema)
                if recorded:
                    self._record(undone)
                raise
            if recorded:
                self._record(commit)
        return commit

    def _replacing(self, frame: "DataFrame", column: str, values: Iterable[str], *, new_schema: bool) -> Any:
        writer = frame.write.format("delta").mode("overwrite")
        if new_schema:
            return writer.option("overwriteSchema", "true")
        return writer.option("replaceWhere", sql.is_one_of(column, values))

    def _commit_of(self, attempt: str) -> Commit:
        return next(c for c in map(Commit.of, self.history()) if c.metadata.get("attempt") == attempt)

    def _check_rows(self, commit: Commit, expected: int) -> None:
        if commit.rows != expected:
            raise PromiseError(
                f"table `{self.name}`: {expected:,} rows were expected, and Delta committed {commit.rows:,}; "
                "the former rows were put back. Please run again, and report this"
            )

    def _record(self, commit: Commit) -> None:
        """Records a checked commit, with the commits by others since keyfold's last one, and the commit that it undid."""
        if self._records is None:
            return
        live, undone = [Commit.of(row) for row in self.history()], commit.metadata.get("undone")
        earlier = takewhile(lambda c: not c.metadata or c.version == undone, (c for c in live if c.version < commit.version))
        checked = commit._replace(checked=True, files=self._files_digest(commit.version))
        CommitRecords(self._records, self._id(live), self.name).add([checked, *earlier])

    def undo(self, commit: Commit, column: str) -> Commit:
        """Puts back, in one commit, the rows that a checked commit replaced (DataError if they were changed since, or are gone)."""
        values = commit.metadata[column]
        with self.lock():
            log = self.log(recorded=True)
            for value in values:
                if log.version_in_effect(column, value) != commit.version:
                    raise DataError(
                        f"table `{self.name}`: the rows of period {value} were changed after version {commit.version}, which is to be "
                        "undone; nothing was changed"
                    )
            key = commit.metadata.get("unique")
            proven = {"unique": key} if key and log.proves(key, commit.version - 1) else {}
            undone = self._put_back(column, values, commit, new_schema=False, **proven)
            self._record(undone)
        return undone

    def _put_back(self, column: str, values: Iterable[str], commit: Commit, *, new_schema: bool, **metadata: Any) -> Commit:
        # Not RESTORE, which would undo other periods too.
        former = self.read(commit.version - 1) if new_schema else self._former_rows(column, values, commit)
        attempt = uuid.uuid4().hex
        metadata |= {"put_back": commit.metadata.get("run_id"), "undone": commit.version, "attempt": attempt}
        metadata |= {} if new_schema else {column: list(values)}
        self._save(self._replacing(former, column, values, new_schema=new_schema), former, metadata)
        return self._commit_of(attempt)

    def _former_rows(self, column: str, values: Iterable[str], commit: Commit) -> "DataFrame":
        log = self.log(recorded=True)
        by_version: dict[int, list[str]] = {}
        for value in values:
            by_version.setdefault(log.version_before(commit, column, value), []).append(value)
        former = self.read(commit.version).where("false")
        for version, group in by_version.items():
            if version >= 0:
                former = former.unionByName(self.read(version).where(sql.is_one_of(column, group)))
        return former

    def claim(self, columns: Sequence[str] | None = None) -> None:
        """DataError if the table has another purpose. A table without a purpose gets this one if its columns fit."""
        if self.use is None or not self.exists():
            return
        purpose = self.properties().get(PURPOSE)
        if purpose is None and columns is not None:
            if not _same_kind(columns, self.read().columns):
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
            pairs = ", ".join(f"{sql.property_literal(k)} = {sql.property_literal(v)}" for k, v in properties.items())
            with temporary_settings(self.spark, sql.ESCAPED):
                self.spark.sql(f"ALTER TABLE {self.at} SET TBLPROPERTIES ({pairs})")

    def _save(self, writer: Any, frame: "DataFrame", metadata: Mapping[str, Any]) -> None:
        writer = writer.option("userMetadata", json.dumps({"keyfold": metadata}, sort_keys=True))
        new = not self.exists()
        if not new:
            self.claim(frame.columns)
        elif odd_column_names(frame.columns):
            writer = writer.option("delta.columnMapping.mode", "name")
        self._write(writer)
        if new and self.use:
            self.describe({PURPOSE: self.use.purpose})

    def _write(self, writer: Any) -> None:
        if self.path:
            writer.save(str(self.path))
        else:
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self.at.rpartition('.')[0]}")
            writer.saveAsTable(self.at)

    @contextmanager
    def lock(self, what: str = "", say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Keeps other processes on this machine from writing, or from `what`; on a local disk Delta does not exclude other writers.

        `say` is called if the lock is held and this process has to wait.
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
    """Finds tables by `schema.table`: in the catalog if one is configured, else below `home`."""

    def __init__(self, spark: "SparkSession", home: Path) -> None:
        self.spark, self.home = spark, home
        self.in_catalog = _catalog_configured(spark)

    def table(self, name: str) -> Table:
        """The table of that name, which need not exist."""
        parts = name.split(".")
        catalog = self.in_catalog or len(parts) > 2
        records = None if name == RECORDS else self.table(RECORDS)
        return Table(self.spark, name, None if catalog else self.home.joinpath("tables", *parts), records=records)

    def used(self, use: TableUse) -> Table:
        """The table of a use, which need not exist; it can be written for that use only."""
        table = self.table(use.name)
        table.use = use
        return table


def _same_kind(columns: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two tables are of one kind: the same columns, or the same ones of keyfold's own beside a user's."""
    own, others_own = ({c for c in names if c.startswith("keyfold_")} for names in (columns, others))
    return set(columns) == set(others) or (own == others_own != set())


def odd_column_names(columns: Iterable[str]) -> list[str]:
    """Names that need Delta's column mapping, which not every reader supports."""
    return [name for name in columns if _ODD & set(name)]


def _catalog_configured(spark: "SparkSession") -> bool:
    catalog = spark.conf.get("spark.sql.catalog.spark_catalog", "")
    default = catalog in ("", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    return not default or spark.conf.get("spark.sql.catalogImplementation", "in-memory") == "hive"


def _creation_options(retention: str | None, indexed: Sequence[str]) -> dict[str, str]:
    index = {"delta.dataSkippingStatsColumns": ",".join(map(sql.quote_identifier, indexed))} if indexed else {}
    return index | (_retention_properties(retention) if retention else {})


def _retention_properties(retention: str) -> dict[str, str]:
    return {f"delta.{what}RetentionDuration": f"interval {retention}" for what in ("deletedFile", "log")}


def _parquet_statistics(columns: Sequence[str]) -> dict[str, str]:
    # To compare each text with the file's smallest and largest takes a fifth of the time of writing.
    if not columns:
        return {}
    return dict.fromkeys(_STATISTICS, "false") | {f"{_STATISTICS[0]}#{name}": "true" for name in columns}
