"""What asks for Spark beside the conf, and what it needs to start."""

import importlib.util
import os

import pytest

from keyfold.engine import spark_setup
from keyfold.engine.session import session
from keyfold.errors import ConfError


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No Spark in sight but the package."""
    for name in os.environ:
        if name.startswith(("SPARK", "PYSPARK", "DATABRICKS", "MASTER", "JAVA_HOME")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(spark_setup, "has_session", lambda: False)


def test_nothing_asks_for_spark_by_itself(monkeypatch):
    assert [*spark_setup.reasons_for_spark()] == []
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "pyspark-shell")
    monkeypatch.setenv("SPARK_REMOTE", "")
    assert [*spark_setup.reasons_for_spark()] == []


@pytest.mark.parametrize(("name", "value", "reason"), [
    ("PYSPARK_SUBMIT_ARGS", "--driver-memory '4 g' pyspark-shell", "there are options of spark-submit"),
    ("MASTER", "local[2]", "MASTER is set"),
    ("SPARK_REMOTE", "sc://host/;token=secret", "SPARK_REMOTE is set"),
    ("DATABRICKS_RUNTIME_VERSION", "17.3", "this is Databricks"),
    ("PYSPARK_GATEWAY_PORT", "1", "spark-submit runs this job"),
])  # fmt: skip
def test_each_sign_of_spark_is_a_reason(monkeypatch, name, value, reason):
    monkeypatch.setenv(name, value)
    assert [*spark_setup.reasons_for_spark()] == [reason]


def test_an_active_session_is_a_reason(monkeypatch):
    monkeypatch.setattr(spark_setup, "has_session", lambda: True)
    assert [*spark_setup.reasons_for_spark()] == ["a Spark session is active"]


@pytest.mark.parametrize(("line", "reasons"), [
    ("spark.master  yarn", ["spark-defaults.conf sets spark.master"]),
    ("  spark.master=local[2]", ["spark-defaults.conf sets spark.master"]),
    ("# spark.master yarn", []),
    ("spark.driver.memory: 4g", []),
    ("spark.sql.catalogImplementation hive", ["spark-defaults.conf sets a catalog"]),
    ("spark.sql.catalog.spark_catalog org.x.UCSingleCatalog", ["spark-defaults.conf sets a catalog"]),
    ("spark.sql.catalog.spark_catalog org.apache.spark.sql.delta.catalog.DeltaCatalog", []),
])  # fmt: skip
@pytest.mark.parametrize("variable", ["SPARK_CONF_DIR", "SPARK_HOME"])
def test_a_master_or_a_catalog_of_the_user_is_a_reason(monkeypatch, tmp_path, variable, line, reasons):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/spark-defaults.conf").write_text(f"spark.ui.enabled false\n{line}\n")
    monkeypatch.setenv(variable, str(tmp_path / "conf" if variable == "SPARK_CONF_DIR" else tmp_path))
    assert [*spark_setup.reasons_for_spark()] == reasons


def test_a_missing_java_is_told_with_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfError, match=r"^Spark needs Java 17 or 21, of which the PATH has none .apt-get install"):
        session()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        ConfError, match=f"^this needs Spark .images.; Spark needs Java 17 or 21, of which JAVA_HOME, {tmp_path}, has none"
    ):
        spark_setup.require_spark("images")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/java").write_text("")
    (tmp_path / "bin/java").chmod(0o755)
    assert spark_setup.missing_for_spark() is None
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert spark_setup.missing_for_spark() is None, "the JVM runs already"


def test_a_missing_package_is_told_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        ConfError, match=r"the package pyspark, .* .pip install 'keyfold\[spark\]'; .*. and Java 17 or 21, of which"
    ):
        session()
