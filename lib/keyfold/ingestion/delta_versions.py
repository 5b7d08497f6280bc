"""Layouts of a Delta table: the rows that were appended from one version to another."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.core.sql import quote_identifier
from keyfold.engine import functions as F
from keyfold.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from keyfold.conf.versions import LayoutVersion

_KEEP_ROWS = (
    "CREATE TABLE", "ADD COLUMNS", "CHANGE COLUMN", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "UPGRADE PROTOCOL", "STREAMING UPDATE",
)  # fmt: skip


def pinned(spark: "SparkSession", layout: "LayoutVersion") -> list[Any]:
    """The table's id, and the first and last version of the layout (DataError if one between them is not an append)."""
    assert layout.delta is not None
    table_id = spark.sql(f"DESCRIBE DETAIL delta.{quote_identifier(layout.delta.path)}").collect()[0].id
    return [str(table_id), [*_bounds(spark, layout)]]


def appended_rows(spark: "SparkSession", layout: "LayoutVersion") -> "DataFrame":
    """Rows of the data files that were added from the first version to the last, in the schema of the last (DataError)."""
    assert layout.delta is not None
    path = layout.delta.path
    first, last = _bounds(spark, layout)

    def at(version: int) -> "DataFrame":
        return spark.read.format("delta").option("versionAsOf", version).load(path)

    rows = at(last)
    before = [Path(file).name for file in at(first - 1).inputFiles()] if first else []
    return rows.where(~F.col("_metadata.file_name").isin(before)) if before else rows


def _bounds(spark: "SparkSession", layout: "LayoutVersion") -> tuple[int, int]:
    assert layout.delta is not None
    path = layout.delta.path
    first, *rest = layout.delta.versions
    history = spark.sql(f"DESCRIBE HISTORY delta.{quote_identifier(path)}").collect()
    last = rest[0] if rest else history[0].version
    for row in history:
        appends = row.operation.startswith(_KEEP_ROWS) or row.operationParameters.get("mode") == "Append" or row.version == 0
        if first <= row.version <= last and not appends:
            raise DataError(
                f"data.versions: version {row.version} of the Delta table `{path}` is a {row.operation}, not an append, so which of "
                f"its rows are of layout `{layout.name}` is unknown; choose versions around it"
            )
    return first, last
