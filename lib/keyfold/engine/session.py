"""The Spark session: its settings and its jars.

Settings given to spark-submit win over defaults. Settings that results depend on are fixed; a conflict with them is an error.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold import secrets
from keyfold.engine.spark_setup import require_spark
from keyfold.errors import ConfError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_SECRET = re.compile("(?i)secret|password|token|access[.]?key|account[.]key")  # the settings that Spark redacts
_UTC = {"utc", "etc/utc", "z", "gmt", "+00:00"}

_SAME_SIZE = {
    "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "date", "timestamp", "timestamp_ntz",
}  # fmt: skip

_FEW = 200  # columns: with 16 bytes each, 20,000 rows fill 64 MB, Spark's default limit for a batch

PINNED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parser.quotedRegexColumnNames": "false",  # Feast turns it on; then a quoted name is a regular expression
}

# Within it, the planner infers no filters: over many renamed columns that takes hours.
PLANNING = {"spark.sql.constraintPropagation.enabled": "false"}

DEFAULTS = {
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Twice Spark's default: fewer calls of a Python model, and a thousand doubles a row still fit in 160 MB.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    # Files with Spark's default type have no bounds, and are slower to write and to read.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Rows are cached for three passes at most. Trying five compressions for each column takes longer than that.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # The JVM interprets larger methods, so the generated code of wide specs would be slow.
    "spark.sql.codegen.hugeMethodLimit": "8000",
}


def session(name: str = "keyfold") -> "SparkSession":
    """The active session, after a check of its settings, or a new one (ConfError if a setting conflicts, or Spark cannot start here)."""
    require_spark()
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is None and not _is_connect():
        active = _new(name)
    spark = check_session(active or SparkSession.builder.appName(name).getOrCreate())
    secrets.hide(value for key, value in spark.conf.getAll.items() if _SECRET.search(key))
    return spark


def required_settings(settings: Mapping[str, str], cores: int) -> dict[str, str]:
    """The settings to add to those given to spark-submit; ConfError if these conflict with the fixed ones."""
    _refuse_conflicts(settings, "spark-submit was given", "leave that option out")
    local = _local(cores) if settings.get("spark.master", "local").startswith("local") else {}
    added = {key: value for key, value in (DEFAULTS | local).items() if key not in settings}
    extensions = [e for e in settings.get("spark.sql.extensions", "").split(",") if e]
    return added | PINNED | {"spark.sql.extensions": ",".join(dict.fromkeys([*extensions, EXTENSION]))}


def check_session(spark: "SparkSession") -> "SparkSession":
    """Returns the session; ConfError if it has another time zone, ANSI mode or meaning of quoted names than results require."""
    current = {key: spark.conf.get(key, "false") or "false" for key in PINNED}
    _refuse_conflicts(current, "the active session has", "set it by spark.conf.set before keyfold is called")
    return spark


@contextmanager
def temporary_settings(spark: "SparkSession", settings: Mapping[str, str]) -> Iterator[None]:
    """Sets settings of the session, and restores them on exit."""
    before = {key: spark.conf.get(key, None) for key in settings}
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, former in before.items():
            spark.conf.unset(key) if former is None else spark.conf.set(key, former)


def arrow_batch_settings(schema: "StructType", columns: Sequence[str]) -> dict[str, str]:
    """Settings for sending rows to Python. Spark need not measure the bytes of rows that all have one small size."""
    same = all(schema[name].dataType.simpleString().split("(")[0] in _SAME_SIZE for name in columns)
    return {"spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1)} if same and len(columns) <= _FEW else {}


def parallel_tasks(spark: "SparkSession") -> int:
    """The number of tasks that run at once, according to the session's settings."""
    master = re.fullmatch(r"local\[(\d+).*\]|local", spark.conf.get("spark.master", "") or "")
    if master:
        return int(master[1] or 1)
    return int(spark.conf.get("spark.default.parallelism", None) or os.cpu_count() or 1)


def delta_package() -> str:
    """The Maven coordinates of the Delta release that is installed for Python."""
    spark_release = ".".join(metadata.version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{spark_release}_2.13:{metadata.version('delta-spark')}"


def write_delta_jars(path: str) -> None:
    """Resolves Delta's jars with Spark, and writes the paths of those that Spark does not bundle."""
    from pyspark import SparkConf, SparkContext
    from pyspark.find_spark_home import _find_spark_home

    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--packages {delta_package()} pyspark-shell"
    SparkContext._ensure_initialized()
    resolved = SparkConf().get("spark.jars", "").split(",")  # type: ignore[union-attr]
    bundled = (jar.name for jar in Path(_find_spark_home(), "jars").glob("*.jar"))
    Path(path).write_text("".join(f"{jar}\n" for jar in missing_jars(resolved, bundled)), "utf-8")


def missing_jars(resolved: Iterable[str], bundled: Iterable[str]) -> list[str]:
    """The resolved jars (`organisation_artifact-version.jar`) that Spark does not bundle in any version."""
    have = {_artifact(jar) for jar in bundled}
    paths = [jar.removeprefix("file://").removeprefix("file:") for jar in resolved]
    return [path for path in paths if _artifact(Path(path).name.partition("_")[2]) not in have]


def _artifact(jar: str) -> str:
    return re.sub(r"-\d[^-]*(-\w+)?\.jar$", "", jar)


def _local(cores: int) -> dict[str, str]:
    """Settings for local jobs: Spark's defaults are meant for a thousand cores."""
    return {
        "spark.sql.shuffle.partitions": str(cores),
        "spark.sql.files.minPartitionNum": str(4 * cores),  # of three tasks on two cores, the last runs alone
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.warehouse.dir": str(_home() / "warehouse"),
        "spark.log.level": "ERROR",
    }


def _home() -> Path:
    from keyfold.engine.home import home

    return home()


def _refuse_conflicts(settings: Mapping[str, str], who: str, remedy: str) -> None:
    for key, value in PINNED.items():
        got = settings.get(key, value)
        right = got.lower() in _UTC if key.endswith("timeZone") else got.lower() == value
        if not right:
            raise ConfError(f"`{key}` must be {value}, because results depend on it ({who} {got}); {remedy}")


def _is_connect() -> bool:
    return "SPARK_REMOTE" in os.environ or "SPARK_CONNECT_MODE_ENABLED" in os.environ


def _new(name: str) -> "SparkSession":
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
        _prepare_launch()
    SparkContext._ensure_initialized()
    jvm = SparkContext._jvm
    assert jvm is not None
    if not jvm.org.apache.spark.util.Utils.classIsLoadable(EXTENSION):
        raise ConfError(
            "Delta's jars must be on the class path (they are not); start with ./spark-submit.sh, "
            f"or give spark-submit the option --packages {delta_package()}"
        )
    settings = dict(SparkConf().getAll())
    conf = SparkConf().setAll(list(required_settings(settings, jvm.java.lang.Runtime.getRuntime().availableProcessors()).items()))
    return SparkSession.builder.config(conf=conf).appName(settings.get("spark.app.name", name)).getOrCreate()


def _prepare_launch() -> None:
    """Prepares the JVM options of a plain Python process: those of spark-submit.sh, from the files that the set-up wrote."""
    arguments = os.environ.get("PYSPARK_SUBMIT_ARGS", "pyspark-shell")
    environment = Path(sys.prefix)
    options, jars = environment / "java-options", environment / "delta-jars"
    defaults = environment.parent / "conf" / "spark-defaults.conf"
    added = ["--conf", f"spark.ui.showConsoleProgress={str(sys.stderr.isatty()).lower()}"]
    if options.is_file():
        added += ["--properties-file", str(defaults)] if defaults.is_file() else []
        os.environ["SPARK_SUBMIT_OPTS"] = f"{options.read_text('utf-8').strip()} {os.environ.get('SPARK_SUBMIT_OPTS', '')}"
    if "delta-spark_" not in arguments:
        recorded = jars.read_text("utf-8").split("\n")[:-1] if jars.is_file() else []
        complete = bool(recorded) and all(map(os.path.isfile, recorded))
        added += ["--jars", ",".join(recorded)] if complete else ["--packages", delta_package()]
    if "--master" not in arguments or "local" in arguments:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"{shlex.join(added)} {arguments}"
