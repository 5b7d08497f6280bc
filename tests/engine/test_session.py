"""The settings of a session, as pure functions."""

from types import SimpleNamespace

import pytest
from pyspark.sql import types as T

from keyfold.engine import session
from keyfold.engine.session import arrow_batch_settings
from keyfold.errors import ConfError


def test_a_session_is_made_for_a_small_machine_only_where_it_is_local():
    local, cluster = session.required_settings({}, 3), session.required_settings({"spark.master": "yarn"}, 3)
    assert local["spark.sql.shuffle.partitions"] == "3"
    assert local["spark.databricks.delta.snapshotPartitions"] == "1"
    assert not {"spark.sql.shuffle.partitions", "spark.databricks.delta.snapshotPartitions", "spark.log.level"} & set(cluster)
    assert session.PINNED.items() <= cluster.items()
    assert cluster["spark.sql.extensions"] == "io.delta.sql.DeltaSparkSessionExtension"


def test_settings_that_were_given_win():
    given = {
        "spark.master": "local[2]",
        "spark.sql.shuffle.partitions": "7",
        "spark.sql.catalog.spark_catalog": "their.Catalog",
        "spark.sql.extensions": "their.Extension",
    }
    made = session.required_settings(given, 2)
    assert not set(given) - {"spark.sql.extensions"} & set(made)
    assert made["spark.sql.extensions"] == "their.Extension,io.delta.sql.DeltaSparkSessionExtension"


@pytest.mark.parametrize(("key", "value"), [
    ("spark.sql.session.timeZone", "Europe/Paris"), ("spark.sql.ansi.enabled", "false"),
    ("spark.sql.parser.quotedRegexColumnNames", "true"),
])  # fmt: skip
def test_settings_on_which_results_depend_are_refused(key, value):
    with pytest.raises(
        ConfError, match=rf"`{key}` must be (UTC|true|false).*\(spark-submit was given {value}\); leave that option out"
    ):
        session.required_settings({key: value}, 2)
    active = session.PINNED | {key: value}
    with pytest.raises(ConfError, match=rf"\(the active session has {value}\); set it by spark.conf.set"):
        session.check_session(SimpleNamespace(conf=active))


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "Z", "+00:00"])
def test_each_name_of_utc_is_right(zone):
    made = session.required_settings({"spark.sql.session.timeZone": zone, "spark.sql.ansi.enabled": "TRUE"}, 2)
    assert made["spark.sql.session.timeZone"] == "UTC"


def test_only_jars_that_spark_lacks_are_handed_over():
    resolved = ["file:///c/io.delta_delta-spark_4.1_2.13-4.4.0.jar", "/c/com.github.luben_zstd-jni-1.5.7-3.jar"]
    assert session.missing_jars(resolved, ["zstd-jni-1.5.6-9.jar", "spark-core_2.13-4.1.4.jar"]) == [
        "/c/io.delta_delta-spark_4.1_2.13-4.4.0.jar"
    ]


def test_rows_are_measured_where_their_size_may_differ(spark):
    schema = T.StructType.fromDDL("a bigint, b double, c decimal(10,2), d date, e timestamp, s string, f array<double>, g binary")
    wide = T.StructType([T.StructField(f"x{i}", T.DoubleType()) for i in range(1000)])
    assert list(arrow_batch_settings(schema, ["a", "b", "c", "d", "e"])) == ["spark.sql.execution.arrow.maxBytesPerBatch"]
    assert [arrow_batch_settings(schema, ["a", name]) for name in "sfg"] == [{}] * 3 and arrow_batch_settings(
        wide, wide.names
    ) == {}
