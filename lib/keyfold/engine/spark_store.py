"""Reads and writes Delta tables with Spark, in its catalog or in a folder."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.core import sql
from keyfold.engine.commits import Commit
from keyfold.engine.frame import Frame
from keyfold.engine.session import PLANNING, temporary_settings
from keyfold.engine.spark_frame import SparkFrame
from keyfold.engine.store import Operation, Snapshot, Store, VersionMissingError, Write, odd_column_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_UNSORTED = {"spark.sql.maxConcurrentOutputFileWriters": "8"}  # else Spark sorts the rows by the partition column
_STATISTICS = "parquet.column.statistics.enabled", "parquet.size.statistics.enabled"

_ids: dict[tuple[Any, ...], str] = {}
_histories: dict[str, tuple[list[tuple[str, int]], list[Commit]]] = {}


class SparkStore(Store):
    """A Delta table that a Spark session reads and writes."""

    def __init__(self, spark: "SparkSession", name: str, path: Path | None) -> None:
        super().__init__(name, path)
        self.spark = spark

    def exists(self) -> bool:
        """Whether the table exists."""
        return super().exists() if self.path else self.spark.catalog.tableExists(self.at)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The latest version, or another one."""
        rows = self._rows(version)
        return Snapshot(SparkFrame(rows), rows.inputFiles, rows.schema.jsonValue)

    def _rows(self, version: int | None) -> "DataFrame":
        reader = self.spark.read.format("delta")
        reader = reader if version is None else reader.option("versionAsOf", version)
        try:
            return reader.load(str(self.path)) if self.path else reader.table(self.at)
        except Exception as error:
            if "DELTA_VERSION_NOT_FOUND" in str(error):
                raise VersionMissingError from error
            raise

    def operations(self) -> list[Operation]:
        """What the commits of Delta's log did, newest first."""
        rows = self.spark.sql(f"DESCRIBE HISTORY {self.at}").collect()
        return [Operation(row.version, row.operation, (row.operationParameters or {}).get("mode")) for row in rows]

    def appended(self, first: int, last: int) -> Frame:
        """The rows of the data files that some versions added."""
        rows = self._rows(last)
        if first:
            before = [Path(file).name for file in self._rows(first - 1).inputFiles()]
            rows = rows.where(~rows.metadataColumn("_metadata").getField("file_name").isin(before))
        return SparkFrame(rows)

    def history(self, limit: int | None = None) -> list[Commit]:
        """The commits, newest first; cached for a table in a folder until a file of its log is added, changed or deleted."""
        if self.path is None:
            return self._history(f" LIMIT {limit}" if limit else "")
        files = _times_of_change(self.path / "_delta_log")
        if not files or _histories.get(self.at, ([], []))[0] != files:
            _histories[self.at] = files, self._history()
        return _histories[self.at][1][:limit]

    def _history(self, limit: str = "") -> list[Commit]:
        rows = self.spark.sql(f"DESCRIBE HISTORY {self.at}{limit}").collect()
        return [
            Commit.of(row.version, row.timestamp, row.operation, row.userMetadata, row.operationMetrics or {}) for row in rows
        ]

    def table_id(self, created: Iterable[Commit]) -> str:
        """The table's id, cached until the table is created again, because DESCRIBE DETAIL makes Delta read its whole state."""
        key = (self.at, *(commit.at for commit in created))
        if key not in _ids:
            _ids[key] = self._id_in_log() or self.spark.sql(f"DESCRIBE DETAIL {self.at}").collect()[0].id
        return _ids[key]

    def _id_in_log(self) -> str | None:
        return next((str(json.loads(line)["metaData"]["id"]) for line in self._log() if line.startswith('{"metaData"')), None)

    def _log(self) -> Iterator[str]:
        for file in sorted((self.path / "_delta_log").glob("*.json"), reverse=True) if self.path else ():
            yield from file.read_text("utf-8").splitlines()

    def properties(self) -> dict[str, str]:
        """The table's properties."""
        return {row.key: row.value for row in self.spark.sql(f"SHOW TBLPROPERTIES {self.at}").collect()}

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Sets properties in one commit."""
        pairs = ", ".join(f"{sql.property_literal(k)} = {sql.property_literal(v)}" for k, v in properties.items())
        with temporary_settings(self.spark, sql.ESCAPED):
            self.spark.sql(f"ALTER TABLE {self.at} SET TBLPROPERTIES ({pairs})")

    def write(self, frame: Frame, write: Write) -> None:
        """Writes rows in one commit; creates the table if it does not exist."""
        assert isinstance(frame, SparkFrame)
        options = {"userMetadata": write.metadata, **self._options(frame, write)}
        writer = frame.data.write.format("delta").mode("overwrite" if write.replaced or write.new_columns else "append")
        writer = writer.options(**options)
        writer = writer.partitionBy(write.partition) if write.partition else writer
        most = {"spark.sql.files.maxRecordsPerFile": str(write.rows_per_file)} if write.rows_per_file else {}
        with temporary_settings(self.spark, PLANNING | _UNSORTED | _parquet_statistics(write.indexed) | most):
            if self.path:
                writer.save(str(self.path))
            else:
                self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self.at.rpartition('.')[0]}")
                writer.saveAsTable(self.at)

    def _options(self, frame: Frame, write: Write) -> Mapping[str, str]:
        if not self.exists():
            mapping = {"delta.columnMapping.mode": "name"} if odd_column_names(frame.columns) else {}
            return {**write.properties, **mapping}
        if write.new_columns:
            return {"overwriteSchema": "true"}
        return {"replaceWhere": sql.is_one_of(*write.replaced)} if write.replaced else {}


def _times_of_change(folder: Path) -> list[tuple[str, int]]:
    """The files with their times of modification; empty if a file disappears meanwhile."""
    try:
        return sorted((file.name, file.stat().st_mtime_ns) for file in os.scandir(folder))
    except FileNotFoundError:
        return []


def _parquet_statistics(columns: Sequence[str]) -> dict[str, str]:
    # Minima and maxima of texts take a fifth of the time of writing.
    if not columns:
        return {}
    return dict.fromkeys(_STATISTICS, "false") | {f"{_STATISTICS[0]}#{name}": "true" for name in columns}
