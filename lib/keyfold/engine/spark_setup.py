"""What asks for Spark beside the conf, and what it needs to start here."""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from keyfold.errors import ConfError

_SETTING = re.compile(r"\s*(spark\.\S+?)(?:\s*[=:]\s*|\s+)(\S.*?)\s*")
_OWN_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
_ELSEWHERE = (
    "PYSPARK_GATEWAY_PORT",
    "SPARK_REMOTE",
    "SPARK_CONNECT_MODE_ENABLED",
    "DATABRICKS_RUNTIME_VERSION",
)  # there runs the JVM
_INSTALL_JAVA = "apt-get install openjdk-17-jre-headless, dnf install java-21-openjdk-headless, brew install openjdk@21"


def reasons_for_spark() -> Iterator[str]:
    """Why this process uses Spark whatever the conf says: a session, options, settings, or what started it."""
    if has_session():
        yield "a Spark session is active"
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        yield "spark-submit runs this job"  # which sets MASTER
    if submit_options():
        yield "there are options of spark-submit"
    yield from (f"{name} is set" for name in ("MASTER", "SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED") if os.environ.get(name))
    yield from _reasons_in(user_settings())
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        yield "this is Databricks"


def _reasons_in(settings: Mapping[str, str]) -> Iterator[str]:
    """A master, and catalogs: tables that Spark would look for there are not in folders."""
    if "spark.master" in settings:
        yield "spark-defaults.conf sets spark.master"
    catalog = settings.get("spark.sql.catalog.spark_catalog", _OWN_CATALOG)
    if settings.get("spark.sql.catalogImplementation") == "hive" or catalog != _OWN_CATALOG:
        yield "spark-defaults.conf sets a catalog"


def has_session() -> bool:
    """Whether a session of Spark is active."""
    if "pyspark.sql" not in sys.modules:
        return False
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession() is not None


def submit_options() -> list[str]:
    """The options of spark-submit that this process was given."""
    return [word for word in os.environ.get("PYSPARK_SUBMIT_ARGS", "").split() if word != "pyspark-shell"]


def user_settings() -> dict[str, str]:
    """The settings of the user's spark-defaults.conf."""
    folder = os.environ.get("SPARK_CONF_DIR") or (os.environ.get("SPARK_HOME") and Path(os.environ["SPARK_HOME"], "conf"))
    file = Path(folder or os.devnull, "spark-defaults.conf")
    lines = file.read_text("utf-8", "replace").splitlines() if file.is_file() else []
    return {found[1]: found[2] for line in lines if (found := _SETTING.fullmatch(line))}


def require_spark(why: str = "") -> None:
    """ConfError if Spark cannot start here; `why`: what needs it."""
    if missing := missing_for_spark():
        raise ConfError(f"{why and f'this needs Spark ({why}); '}Spark needs {missing}")


def missing_for_spark() -> str | None:
    """What is missing to start Spark here, and how to get it; None if nothing is."""
    return " and ".join(_missing()) or None


def _missing() -> Iterator[str]:
    if not importlib.util.find_spec("pyspark"):
        yield "the package pyspark, which is not installed (pip install 'keyfold[spark]'; in a clone ./spark-submit.sh setup spark)"
    if not (has_session() or any(os.environ.get(name) for name in _ELSEWHERE) or java()):
        place = f"JAVA_HOME, {os.environ['JAVA_HOME']}," if os.environ.get("JAVA_HOME") else "the PATH"
        yield f"Java 17 or 21, of which {place} has none ({_INSTALL_JAVA})"


def java() -> str | None:
    """The program that starts the JVM, None if there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(Path(home, "bin/java") if home else "java")
