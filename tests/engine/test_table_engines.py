"""One protocol for tables on both engines: what they refuse, what they put back, and a table that both write in turn."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from keyfold.engine.columns import col, lit
from keyfold.engine.tables import PURPOSE, Tables, TableUse
from keyfold.errors import DataError, PromiseError

SCHEMA = pa.schema([("id", pa.int64()), ("x", pa.string()), ("period", pa.string()), ("run_id", pa.string())])
ODD = "p'1 ä/%2F:\\"


def rows_of(engine, period, *ids, run_id="r", x="x"):
    return engine.frame(pa.table([[*ids], [x] * len(ids), [period] * len(ids), [run_id] * len(ids)], schema=SCHEMA))


def write(engine, table, period, *ids, run_id="r", x="x", **more):
    return table.replace(rows_of(engine, period, *ids, run_id=run_id, x=x), "period", {period: len(ids)}, run_id=run_id, **more)


def found(table, version=None):
    return sorted((row["id"], row["period"]) for row in table.frame(version).select(["id", "period"]).rows())


@pytest.fixture
def table(engine, tmp_path):
    return Tables(engine, tmp_path).table("a.b")


def test_periods_are_replaced_put_back_and_undone(engine, table):
    """Counts are those of Delta; a commit whose rows are not as many, or whose check fails, is put back."""
    first = write(engine, table, "may", 1, 2, retention="90 days", indexed=["id"], recorded=True)
    assert (first.version, first.rows, first.metadata["run_id"]) == (0, 2, "r")
    assert {"delta.dataSkippingStatsColumns": "`id`", "delta.logRetentionDuration": "interval 90 days"}.items() <= {
        *table.properties().items()
    }
    write(engine, table, ODD, 3, recorded=True)
    second = write(engine, table, "may", 4, run_id="s", recorded=True)
    assert (second.rows, found(table), found(table, first.version)) == (1, [(3, ODD), (4, "may")], [(1, "may"), (2, "may")])
    with pytest.raises(PromiseError, match="9 rows were expected, and Delta committed 1; the former rows were put back"):
        table.replace(rows_of(engine, ODD, 5), "period", {ODD: 9})
    assert found(table) == [(3, ODD), (4, "may")]
    assert table.holds("may", "s", 1) and not table.holds("may", "s", 2) and not table.holds("may", "r", 1)
    table.undo(second, "period")
    assert found(table) == [(1, "may"), (2, "may"), (3, ODD)]
    with pytest.raises(DataError, match="were changed after version 2"):
        table.undo(second, "period")
    none = table.replace(rows_of(engine, "may"), "period", {"may": 0})
    assert (none.rows, found(table)) == (0, [(3, ODD)])
    assert table.frame().where(col("period") == lit(ODD)).count() == 1
    assert table.versions_of("period", ["may", ODD], none.version) == {"may": none.version, ODD: 4}


def test_a_table_has_one_purpose(engine, tmp_path):
    tables = Tables(engine, tmp_path)
    write(engine, tables.used(TableUse("a.b", "rows of t", "data.table")), "may", 1)
    assert tables.table("a.b").properties()[PURPOSE] == "rows of t"
    with pytest.raises(DataError, match=r"table `a.b` is for rows of t, and not for images of t"):
        tables.used(TableUse("a.b", "images of t", "images.into")).claim()
    with pytest.raises(DataError, match=r"there is no table `a.bb` \(did you mean `b`\?\)"):
        tables.table("a.bb").frame()
    with pytest.raises(DataError, match="has no version 9 yet; the latest is"):
        tables.table("a.b").frame(9)


def test_other_columns_replace_the_whole_table(engine, table):
    """The new schema is put back, too."""
    write(engine, table, "may", 1)
    write(engine, table, "june", 2)
    wide = rows_of(engine, "may", 3).with_columns({"y": lit(1.5)})
    with pytest.raises(PromiseError):
        table.replace(wide, "period", {"may": 2}, schema=True)
    assert (found(table), table.frame().columns) == ([(1, "may"), (2, "june")], SCHEMA.names)
    table.replace(wide, "period", {"may": 1}, schema=True)
    assert (found(table), table.frame().columns) == ([(3, "may")], [*SCHEMA.names, "y"])
    assert DeltaTable(str(table.path)).metadata().partition_columns == ["period"]


def test_rows_that_do_not_belong_are_refused(engine, table):
    """Rows of another period, text for a number, a column that the table has not; nothing is committed."""
    write(engine, table, "may", 1)
    outside = rows_of(engine, "may", 2).union(rows_of(engine, "june", 3))
    for wrong in (
        outside,
        rows_of(engine, "may", 2).drop("id").with_columns({"id": lit("7")}),
        rows_of(engine, "may", 2).with_columns({"z": lit(1)}),
    ):
        with pytest.raises(
            Exception, match=r"failed validation|REPLACE_WHERE|MERGE|MISMATCH|column `id` is bigint|no column `z`"
        ):
            table.replace(wrong, "period", {"may": 2})
    assert (found(table), len(table.history())) == ([(1, "may")], 1)


def test_a_null_in_a_column_that_has_none_is_refused(engine, table):
    DeltaTable.create(str(table.path), pa.schema([pa.field("id", pa.int64(), nullable=False), *[*SCHEMA][1:]]))
    write(engine, table, "may", 1, partition=False)
    with pytest.raises(Exception, match=r"column `id` of the new rows holds NULL|NOT_NULL"):
        write(engine, table, "may", 2, None, partition=False)
    assert (found(table), len(table.history())) == ([(1, "may")], 2)


def test_changes_by_others_are_found(engine, table, tmp_path):
    """By their rows; not a commit that leaves the rows as they are."""
    write(engine, table, "may", 1, 2)
    write(engine, table, "june", 3)
    assert table.changed_by_others("period", ["may", "june", "july"]) == {"july"}
    delta = DeltaTable(str(table.path))
    for change, changed in (({"x": "NULL"}, {"may"}), ({"x": "'x'"}, set())):
        delta.update(change, predicate="id = 1")
        assert table.changed_by_others("period", ["may", "june"]) == changed


def test_records_outlive_the_log(engine, table):
    """The memory of files is in the records alone when they are asked for it."""
    commit = write(engine, table, "may", 1, recorded=True, files={"a.csv": 1}, job="ingest")
    assert [c.metadata["job"] for c in table.commits()] == ["ingest"]
    recorded = table.memory(commit._replace(metadata={}))
    assert recorded == {"files": {"a.csv": 1}}
    [again] = table.log(recorded=True)
    assert again.checked and again.at.tzinfo and abs(again.at - commit.at) < dt.timedelta(seconds=1)


VALUES = {
    "tinyint": (pa.int8(), [1, -128]), "smallint": (pa.int16(), [-(2**15)]), "int": (pa.int32(), [2**31 - 1]),
    "bigint": (pa.int64(), [2**53 + 1]), "float": (pa.float32(), [0.1]), "double": (pa.float64(), [-0.0, 5e-324, float("inf")]),
    "decimal(38,18)": (pa.decimal128(38, 18), [Decimal("12345678901234567890.000000000000000001")]), "string": (pa.string(), ["", "ä\0"]),
    "binary": (pa.binary(), [b"", b"\xff\0"]), "boolean": (pa.bool_(), [True]), "date": (pa.date32(), [dt.date(1582, 10, 4)]),
    "timestamp": (pa.timestamp("us", "UTC"), [dt.datetime(1969, 12, 31, 23, 59, 59, 999999, dt.UTC)]),
    "timestamp_ntz": (pa.timestamp("us"), [dt.datetime(9999, 12, 31, 23, 59, 59, 999999)]),
    "array<string>": (pa.list_(pa.string()), [[], ["a", None]]), "map<string,double>": (pa.map_(pa.string(), pa.float64()), [[("a", 1.5), ("b", None)]]),
    "struct<a:int>": (pa.struct([("a", pa.int32())]), [{"a": 1}]),
}  # fmt: skip
TYPED = pa.table({name: pa.array([*cells, *[None] * (3 - len(cells))], type_) for name, (type_, cells) in VALUES.items()})
PLAIN = TYPED.rename_columns([f"c{i}" for i in range(len(VALUES))]).append_column("n", pa.array([1, 2, 3], pa.int64()))


def refuse(batches):
    yield next(batches)
    raise DataError("row 7 is refused")


def test_what_a_kernel_raises_ends_the_commit(embedded, tmp_path):
    table = Tables(embedded, tmp_path).table("a.b")
    types = {field.name: field.type for field in SCHEMA}
    with pytest.raises(DataError, match="row 7 is refused"):
        table.append(rows_of(embedded, "may", 1, 2).map_batches(refuse, types))
    assert not table.exists()


@pytest.fixture
def mixed(spark_engine, embedded, tmp_path):
    """A table by both engines."""
    return {engine.name: Tables(engine, tmp_path).table("a.b") for engine in (spark_engine, embedded)}


def values(frame):
    return [repr(row) for row in frame.sort(["n"]).to_arrow().select(PLAIN.column_names).to_pylist()]


@pytest.mark.parametrize("first", ["spark", "embedded"])
def test_values_of_all_types_are_read_alike(mixed, first):
    """Each engine appends them; each reads both, and so do Polars and DuckDB the counts."""
    engines = [mixed[first], *(table for name, table in mixed.items() if name != first)]
    for table in engines:
        table.append(table.engine.frame(PLAIN))
        table.describe({f"set.by.{table.engine.name}": "x"})
    wanted = sorted(values(engines[0].engine.frame(PLAIN)) * 2)
    for table in engines:
        assert [*table.frame().types.values()] == [*VALUES, "bigint"], table.engine.name
        assert sorted(values(table.frame())) == wanted, table.engine.name
    files = DeltaTable(str(table.path)).file_uris()
    assert duckdb.sql(f"SELECT count(*), sum(n), count(c7) FROM read_parquet({files!r})").fetchall() == [(6, 12, 4)]


def test_a_table_is_carried_on_by_the_other_engine(mixed, spark_engine, embedded):
    """50 commits in turn, across checkpoints: rows, history, properties, records and undo are the same for both."""
    spark, plain = mixed.values()
    write(embedded, plain, "may", 1, indexed=["id"], recorded=True)
    plain.describe({"delta.checkpointInterval": "7", "odd 'ä": '"\\'})
    for i in range(48):
        engine, table = (spark_engine, spark) if i % 24 == 5 else (embedded, plain)
        write(engine, table, f"p{i % 5}", i, i + 100, run_id=f"run {i}")
    last = write(spark_engine, spark, "may", 7, 8, 9, run_id="last", recorded=True)
    assert last.version == 50 and len(list((plain.path / "_delta_log").glob("*.checkpoint*"))) >= 2
    assert found(spark) == found(plain) and len(found(plain)) == 13 and found(plain, 20) == found(spark, 20)
    kept = {name: value for name, value in spark.properties().items() if not name.startswith("delta.min")}
    assert (plain.version(), plain.properties()) == (spark.version(), kept)
    assert [c._replace(at=None) for c in spark.history()] == [c._replace(at=None) for c in plain.history()]
    assert plain._files_digest(None) == spark._files_digest(None) != "" and plain._files_digest(20) == spark._files_digest(20)
    undone = plain.undo(last, "period")
    assert [row for row in found(spark) if row[1] == "may"] == [(1, "may")] and undone.metadata["undone"] == 50
    spark_engine.spark.sql(f"UPDATE {spark.at} SET x = 'other' WHERE period = 'p1' AND id < 100")
    for table in (spark, plain):
        assert table.changed_by_others("period", ["may", *(f"p{i}" for i in range(5))]) == {"p1"}
        assert [(c.version, c.checked) for c in table.log(recorded=True) if c.checked] == [(51, True), (50, True), (0, True)]
    assert sorted(pl.read_delta(str(plain.path)).select("id", "period").rows()) == found(plain)


def test_what_needs_spark_is_told(mixed, spark_engine, embedded):
    """Column mapping, and deletion vectors."""
    spark, plain = mixed.values()
    odd = pa.table({"a b": [1]})
    with pytest.raises(DataError, match=r"column `a b` needs Delta's column mapping, which the embedded engine cannot write"):
        plain.append(embedded.frame(odd))
    assert not plain.exists()
    spark.append(spark_engine.frame(odd))
    for use in (plain.frame, lambda: plain.append(embedded.frame(odd)), lambda: plain.describe({"a": "b"})):
        with pytest.raises(DataError, match=r"table `a.b` has a feature of Delta that needs Spark \(columnMapping\)"):
            use()
    vectors = Tables(embedded, plain.path.parents[2]).table("a.c")
    write(embedded, vectors, "may", 1, 2)
    at = f"delta.`{vectors.path}`"
    spark_engine.spark.sql(f"ALTER TABLE {at} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    with pytest.raises(DataError, match=r"needs Spark \(deletionVectors\)"):
        vectors.frame()
    assert vectors.properties()["delta.enableDeletionVectors"] == "true"


JOB = """
import sys, time
from pathlib import Path
import pyarrow as pa
from keyfold.engine.engine import EmbeddedEngine
from keyfold.engine.tables import Tables

home, job, slow = Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
engine = EmbeddedEngine()

def batches(task):
    for i in range(20):
        yield pa.record_batch({"id": pa.array(range(1000 * i, 1000 * i + 1000)), "period": ["may"] * 1000, "run_id": [job] * 1000})
        if slow:
            print(i, flush=True)
            time.sleep(0.05)

frame = engine.map_tasks(batches, [0], {"id": pa.int64(), "period": pa.string(), "run_id": pa.string()})
table = Tables(engine, home).table("a.b")
with table.lock("may"):
    if not table.holds("may", job, 20000):
        table.replace(frame, "period", {"may": 20000}, run_id=job, recorded=True)
print("done", flush=True)
"""


def started(home, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", JOB, str(home), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("moment", ["rows", "files", "log"])
def test_a_killed_job_leaves_the_old_rows_or_the_new_ones(embedded, tmp_path, moment):
    table = Tables(embedded, tmp_path).table("a.b")
    schema = pa.schema([("id", pa.int64()), ("period", pa.string()), ("run_id", pa.string())])
    table.replace(
        embedded.frame(pa.table([[1], ["may"], ["old"]], schema=schema)), "period", {"may": 1}, run_id="old", recorded=True
    )
    job = started(tmp_path, "new", *(["slow"] if moment == "rows" else []))
    if moment == "rows":
        job.stdout.readline()
    pattern, there = {"files": ("period=may/*.parquet", 2), "log": ("_delta_log/*1.json", 1), "rows": ("*", 0)}[moment]
    while job.poll() is None and len([*table.path.glob(pattern)]) < there:
        time.sleep(0.001)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert table.holds("may", "old", 1) or table.holds("may", "new", 20_000)
    assert started(tmp_path, "new").wait() == 0
    assert table.holds("may", "new", 20_000)


def test_jobs_at_once_commit_one_after_the_other(embedded, tmp_path):
    jobs = [started(tmp_path, str(i)) for i in range(2)]
    assert [job.wait() for job in jobs] == [0, 0]
    table = Tables(embedded, tmp_path).table("a.b")
    assert table.frame().count() == 20_000 and [c.rows for c in table.history()] == [20_000] * 2
