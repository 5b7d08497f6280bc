"""Delta tables: where they live, which version they are at, and the commit protocol.

A run's values arrive in one commit that replaces its periods, and that carries the run id and the expected counts. The
commit's own row metric is compared before the run counts as done; a difference puts the periods' former rows back.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from keyfold import sql
from keyfold.errors import DataError, KeyfoldError, PromiseError, nearest
from keyfold.spark import set_for_now

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

    from keyfold.names import Use

_UNCHANGING = ("OPTIMIZE", "VACUUM", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "ANALYZE", "COMPUTE", "CLUSTER BY", "REORG")
_UNSORTED = {"spark.sql.maxConcurrentOutputFileWriters": "8"}  # else rows are sorted by a partition column that has one value
_UNMEASURED = "parquet.column.statistics.enabled", "parquet.size.statistics.enabled"
PURPOSE = "keyfold.purpose"
_ids: dict[tuple[Any, ...], str] = {}
_ODD = set(" ,;{}()\n\t=")  # Delta needs column mapping for names with these


class Version(NamedTuple):
    """What pins a table's rows: the table's id and its last data-changing version."""

    id: str
    version: int


class Commit(NamedTuple):
    """A commit: its version, Delta's own row count, what keyfold wrote into its metadata, and when."""

    version: int
    rows: int
    metadata: dict[str, Any]
    at: datetime


def changes(row: "Row") -> bool:
    """Whether a commit of the history changed rows."""
    return not row.operation.startswith(_UNCHANGING)


class Table:
    """One Delta table, in a catalog or in a folder of the state."""

    def __init__(self, spark: "SparkSession", name: str, path: Path | None, use: "Use | None" = None) -> None:
        self.spark, self.name, self.path, self.use = spark, name, path, use
        self.at = f"delta.{sql.quoted(str(path))}" if path else ".".join(map(sql.quoted, name.split(".")))

    def exists(self) -> bool:
        """Whether the table is there."""
        return any((self.path / "_delta_log").glob("*.json")) if self.path else self.spark.catalog.tableExists(self.at)

    def read(self, version: int | None = None) -> "DataFrame":
        """The rows, now or at a version (DataError where the table or the version is not there)."""
        self._check_there()
        reader = self.spark.read.format("delta")
        reader = reader if version is None else reader.option("versionAsOf", version)
        try:
            rows = reader.load(str(self.path)) if self.path else reader.table(self.at)
        except Exception as error:
            if "DELTA_VERSION_NOT_FOUND" in str(error) and version is not None and version < self.history(1)[0].version:
                raise self._gone(version) from error
            raise
        if version is None or self.path is None or all(map(_is_there, rows.inputFiles())):
            return rows
        if not any(row.version > version and changes(row) for row in self.history()):
            return self.read()  # the same rows in other files
        raise self._gone(version)

    def _gone(self, version: int) -> DataError:
        kept = self.properties().get("delta.deletedFileRetentionDuration", "interval 1 week").removeprefix("interval ")
        return DataError(
            f"version {version} of table `{self.name}` is gone: VACUUM takes rows that were replaced more than {kept} ago "
            "(data.retention); run the job on the table as it is, or ingest those files again"
        )

    def history(self, limit: int | None = None) -> "list[Row]":
        """Commits, newest first."""
        return self.spark.sql(f"DESCRIBE HISTORY {self.at}" + (f" LIMIT {limit}" if limit else "")).collect()

    def version(self) -> Version:
        """The table's id and its last data-changing version (DataError where the table is not there)."""
        self._check_there()
        history = self.history()
        return Version(self._id(history), next((row.version for row in history if changes(row)), 0))

    def _id(self, history: "list[Row]") -> str:
        """Asked once of each table that was made, for to ask has Delta read its whole state."""
        made = (self.at, *(row.timestamp for row in history if row is history[-1] or "REPLACE" in row.operation))
        if made not in _ids:
            _ids[made] = self.spark.sql(f"DESCRIBE DETAIL {self.at}").collect()[0].id
        return _ids[made]

    def commits(self, limit: int | None = None) -> Iterator[Commit]:
        """keyfold's own commits, newest first."""
        for row in self.history(limit):
            if metadata := _parsed(row.userMetadata):
                yield Commit(row.version, int(row.operationMetrics.get("numOutputRows", -1)), metadata, row.timestamp)

    def versions_of(self, column: str, values: Iterable[str], version: int) -> dict[str, int]:
        """By value of the column that `replace` goes by, the version, at most `version`, that changed it last.

        A commit that is not keyfold's changes all.
        """
        found: dict[str, int] = {}
        left = set(values)
        for row in (row for row in self.history() if row.version <= version and changes(row)):
            metadata = _parsed(row.userMetadata)
            touched = left & set(metadata[column]) if column in metadata else left
            found |= dict.fromkeys(touched, row.version)
            left -= touched
        return found | dict.fromkeys(left, 0)

    def unique(self, key: Sequence[str], version: int | None = None) -> bool:
        """Whether every commit up to a version was one that proved the key to be unique."""
        history = [row for row in self.history() if (version is None or row.version <= version) and changes(row)]
        return all(_parsed(row.userMetadata).get("unique") == key for row in history)

    def holds(self, period: str, run_id: str, rows: int) -> bool:
        """Whether the rows of a period are all of one run, and so many."""
        if not self.exists():
            return False
        there = self.read().where(sql.col("period") == period).groupBy("run_id").count().collect()
        return [(row["run_id"], row["count"]) for row in there] == [(run_id, rows)]

    def append(self, frame: "DataFrame", **metadata: Any) -> None:
        """Adds rows in one commit."""
        with self.lock():
            self._save(frame.write.format("delta").mode("append"), frame, metadata)

    def replace(
        self, frame: "DataFrame", column: str, values: Mapping[str, int], *, partition: bool = True,
        retention: str | None = None, indexed: Sequence[str] = (), schema: bool = False, check: Callable[[], None] | None = None, **metadata: Any,
    ) -> Commit:  # fmt: skip
        """Puts `frame` in the place of the rows whose `column` is one of `values`, which says how many rows each has; one commit.

        `indexed` are the columns of which files keep bounds (default: the first 32), `retention` is that of a table that is not
        there yet; with `schema` other columns replace the whole table. PromiseError where Delta counts other rows than were
        expected, and whatever `check` raises, which looks at the table after the commit; the former rows are put back.
        """
        attempt = uuid.uuid4().hex
        metadata |= {"attempt": attempt, column: dict(values)}
        with self.lock():
            there = self.exists()
            before = self._before(metadata.get("run_id")) if there else None
            writer = frame.write.format("delta").mode("overwrite")
            if not there:
                writer = writer.options(**_kept_for(retention) if retention else {}, **_indexed(indexed) if indexed else {})
            elif schema and self.read().columns != frame.columns:
                writer = writer.option("overwriteSchema", "true")
            else:
                writer = writer.option("replaceWhere", _where(column, values))
            with set_for_now(self.spark, _UNSORTED | _measured(indexed)):
                self._save(writer.partitionBy(column) if partition else writer, frame, metadata)
            commit = next(c for c in self.commits(limit=20) if c.metadata.get("attempt") == attempt)
            if commit.rows != sum(values.values()):
                self._put_back(column, values, before, metadata.get("run_id"))
                raise PromiseError(
                    f"table `{self.name}`: {sum(values.values()):,} rows were expected, and Delta committed {commit.rows:,}; "
                    "the former rows were put back. Please run again, and report this"
                )
            if check:
                try:
                    check()
                except KeyfoldError:
                    self._put_back(column, values, before, metadata.get("run_id"))
                    raise
        return commit

    def _before(self, run_id: str | None) -> int | None:
        """The last version but for the newest commits of a run: those of attempts that were killed before their check."""
        others = (r.version for r in self.history() if run_id is None or _parsed(r.userMetadata).get("run_id") != run_id)
        return next(others, None)

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
            said = ", ".join(f"{sql.text(name)} = {sql.text(value)}" for name, value in properties.items())
            self.spark.sql(f"ALTER TABLE {self.at} SET TBLPROPERTIES ({said})")

    def _put_back(self, column: str, values: Mapping[str, int], version: int | None, run_id: str | None) -> None:
        # Not RESTORE, which would undo other periods too.
        where = _where(column, values)
        former = self.read(version).where(where) if version is not None else self.read().where("false")
        writer = former.write.format("delta").mode("overwrite").option("replaceWhere", where)
        self._save(writer, former, {"put_back": run_id, column: list(values)})

    def _save(self, writer: Any, frame: "DataFrame", metadata: Mapping[str, Any]) -> None:
        writer = writer.option("userMetadata", json.dumps({"keyfold": metadata}, sort_keys=True))
        there = self.exists()
        if there:
            self.claim(frame.columns)
        elif any(_ODD & set(c) for c in frame.columns):
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
            raise DataError(f"there is no table `{self.name}`{nearest(self.name.split('.')[-1], siblings)}; run `ingest` first")

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
        return Table(self.spark, name, None if catalog else self.home.joinpath("tables", *parts))

    def used(self, use: "Use") -> Table:
        """The table of a use, there or not; it is written for that use alone."""
        table = self.table(use.name)
        table.use = use
        return table


def _alike(columns: Sequence[str], there: Sequence[str]) -> bool:
    """Whether two tables are of one kind: they have the same columns, or the same of keyfold's own beside a user's."""
    own, others = ({c for c in some if c.startswith("keyfold_")} for some in (columns, there))
    return set(columns) == set(there) or (own == others != set())


def home() -> Path:
    """Where state lives: $KEYFOLD_HOME, or .keyfold in the current folder."""
    return Path(os.environ.get("KEYFOLD_HOME", ".keyfold")).absolute()


def _catalog_configured(spark: "SparkSession") -> bool:
    catalog = spark.conf.get("spark.sql.catalog.spark_catalog", "")
    own = catalog in ("", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    return not own or spark.conf.get("spark.sql.catalogImplementation", "in-memory") == "hive"


def _kept_for(retention: str) -> dict[str, str]:
    return {f"delta.{what}RetentionDuration": f"interval {retention}" for what in ("deletedFile", "log")}


def _indexed(columns: Sequence[str]) -> dict[str, str]:
    return {"delta.dataSkippingStatsColumns": ",".join(map(sql.quoted, columns))}


def _measured(columns: Sequence[str]) -> dict[str, str]:
    """To compare each text with the file's smallest and largest costs a fifth of writing it."""
    if not columns:
        return {}
    return dict.fromkeys(_UNMEASURED, "false") | {f"{_UNMEASURED[0]}#{name}": "true" for name in columns}


def _is_there(file: str) -> bool:
    return not file.startswith("file:") or Path(unquote(urlparse(file).path)).exists()


def _where(column: str, values: Mapping[str, int]) -> str:
    return f"{sql.quoted(column)} IN ({', '.join(map(sql.text, values))})"


def _parsed(metadata: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(metadata or "{}")
        return parsed.get("keyfold", {}) if isinstance(parsed, dict) else {}
    except ValueError:
        return {}
