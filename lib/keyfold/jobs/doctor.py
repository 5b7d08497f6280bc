"""Facts for support: versions, master, memory, the place of the state, and whether a Delta write works."""

import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.core.packages import installed_release
from keyfold.engine import session as sessions
from keyfold.engine.home import home
from keyfold.errors import DataError
from keyfold.tracking.connection import tracking_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from pyspark.sql import SparkSession

TRIAL_ROWS = 1000
_PACKAGES = ("pyspark", "delta-spark", "mlflow", "scikit-learn", "pandas", "pyarrow", "numpy")


def environment_facts(spark: "SparkSession") -> Iterator[tuple[str, str]]:
    """Name and value of each fact, in the order of the output."""
    yield "keyfold", installed_release("keyfold") or "not installed"
    yield "python", f"{sys.version.split()[0]}  {sys.executable}"
    yield "java", _java(spark)
    yield from ((package, installed_release(package) or "not installed") for package in _PACKAGES)
    yield "master", spark.conf.get("spark.master", None) or "a Connect server"
    yield "cores", str(sessions.parallel_tasks(spark))
    yield "memory", f"{spark.conf.get('spark.driver.memory', '1g')} for the driver"
    yield "state", str(home())
    yield "tables", str(home() / "tables")
    yield "mlflow at", tracking_address()


def delta_trial(spark: "SparkSession", folder: Path) -> float:
    """Seconds of a Delta write and a read through Python workers in a folder (DataError if they fail)."""
    table = folder / f"doctor-{uuid.uuid4().hex}"
    start = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = _write_and_read(spark, str(table))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"a Delta table could not be written and read in {folder} ({reason}); set KEYFOLD_HOME elsewhere"
        ) from error
    finally:
        shutil.rmtree(table, ignore_errors=True)
    if rows != TRIAL_ROWS:
        raise DataError(f"a Delta table in {folder} must have the {TRIAL_ROWS} rows that were written (got {rows})")
    return time.monotonic() - start


def _write_and_read(spark: "SparkSession", path: str) -> int:
    rows = spark.range(TRIAL_ROWS).selectExpr("id", "id % 2 AS half", "cast(id AS string) AS name")
    for half in (0, 1, 1):
        writer = rows.where(f"half = {half}").write.format("delta").partitionBy("half")
        writer.mode("overwrite").option("replaceWhere", f"half = {half}").save(path)
    table = spark.read.format("delta").load(path)
    read = table.mapInArrow(_identity, table.schema).toArrow()
    return int(read.num_rows)


def _identity(batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    yield from batches


def _java(spark: "SparkSession") -> str:
    properties = [f"java_method('java.lang.System', 'getProperty', 'java.{name}')" for name in ("version", "home")]
    return "  ".join(map(str, spark.range(1).selectExpr(*properties).first() or ()))
