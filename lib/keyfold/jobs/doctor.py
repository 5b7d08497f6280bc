"""Facts for support: versions, what each engine needs and finds, the place of the state, and whether a Delta write works."""

import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.core.machine import memory_limit
from keyfold.core.packages import installed_release
from keyfold.engine import spark_setup
from keyfold.engine.engine import embedded
from keyfold.engine.home import home
from keyfold.engine.tables import Table
from keyfold.errors import DataError
from keyfold.runtime.engine_choice import choose_engine
from keyfold.tracking.connection import tracking_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from pyspark.sql import SparkSession

    from keyfold.conf.use_case import Conf
    from keyfold.engine.engine import Engine

TRIAL_ROWS = 1000
_PACKAGES = ("mlflow", "scikit-learn", "pandas", "pyarrow", "numpy")


def environment_facts(conf: "Conf | None") -> Iterator[tuple[str, str]]:
    """Name and value of each fact, in the order of the output; with a conf, the engine that it gets."""
    yield "keyfold", installed_release("keyfold") or "not installed"
    yield "python", f"{sys.version.split()[0]}  {sys.executable}"
    yield from _releases(_PACKAGES)
    yield "state", str(home())
    yield "tables", str(home() / "tables")
    yield "mlflow at", tracking_address()
    tasks = embedded().tasks
    cores = f"{tasks} core{'s' if tasks > 1 else ''}"
    yield "embedded", f"{_found('duckdb', 'deltalake')}; {cores}, {memory_limit() / 1e9:,.1f} GB of memory"
    yield "spark", _spark()
    yield "engine", _engine(conf)


def spark_facts(spark: "SparkSession") -> Iterator[tuple[str, str]]:
    """Name and value of each fact about a session."""
    yield "master", spark.conf.get("spark.master", None) or "a Connect server"
    yield "driver", f"{spark.conf.get('spark.driver.memory', '1g')} of memory"


def _releases(packages: "Iterable[str]") -> Iterator[tuple[str, str]]:
    return ((package, installed_release(package) or "not installed") for package in packages)


def _found(*packages: str) -> str:
    return ", ".join(f"{package} {release}" for package, release in _releases(packages))


def _spark() -> str:
    if missing := spark_setup.missing_for_spark():
        return f"cannot start: it needs {missing}"
    return f"{_found('pyspark', 'delta-spark')}, {_java()}"


def _java() -> str:
    program = spark_setup.java()
    if program is None:
        return "Java elsewhere"
    told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(.*?)"', told)
    return f"Java {found[1] if found else '?'}  {program}"


def _engine(conf: "Conf | None") -> str:
    if conf is not None:
        choice = choose_engine(conf)
        return f"{choice.name} for this conf: {choice.reason}"
    reason = next(spark_setup.reasons_for_spark(), None)
    return f"spark: {reason}" if reason else "embedded, unless a conf needs Spark (`doctor CONF` says so)"


def delta_trial(engine: "Engine", folder: Path) -> float:
    """Seconds of three Delta writes and a read through Python workers in a folder (DataError if they fail)."""
    trial = folder / f"doctor-{uuid.uuid4().hex}"
    start = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = _write_and_read(Table(engine, "doctor.trial", trial / "table"))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"a Delta table could not be written and read in {folder} ({reason}); set KEYFOLD_HOME elsewhere"
        ) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    if rows != TRIAL_ROWS:
        raise DataError(f"a Delta table in {folder} must have the {TRIAL_ROWS} rows that were written (got {rows})")
    return time.monotonic() - start


def _write_and_read(table: Table) -> int:
    for half in (0, 1, 1):
        rows = [(number, str(number % 2), f"row {number}") for number in range(half, TRIAL_ROWS, 2)]
        table.replace(table.engine.rows(rows, "id bigint, half string, name string"), "half", {str(half): len(rows)})
    read = table.frame()
    return read.map_batches(_identity, read.arrow_types(read.columns)).to_arrow().num_rows


def _identity(batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    yield from batches
