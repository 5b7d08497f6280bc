"""Parquet sources: types that change, types that are refused, and columns that differ by case."""

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from keyfold.conf.columns import RenamedColumn
from keyfold.errors import DataError
from keyfold.ingestion import parquet_files, sources


def test_nanoseconds_in_parquet_are_microseconds_where_nothing_is_lost(spark, tmp_path):
    at = [1_751_364_000_123_456_000, -1_000, 1_751_364_000_123_456_789, None]
    table_ = pa.table({"id": range(4), "utc": pa.array(at, pa.timestamp("ns", "UTC")), "wall": pa.array(at, pa.timestamp("ns"))})
    pq.write_table(table_, tmp_path / "a.parquet")
    source = sources.read_source(spark, str(tmp_path / "a.parquet"), {}, None)
    assert {f.name: f.dataType.simpleString() for f in source.rows.schema.fields if f.name in ("utc", "wall")} == {
        "utc": "timestamp",
        "wall": "timestamp_ntz",
    }
    columns = [F.unix_micros("utc"), F.unix_micros(F.col("wall").cast("timestamp")), source.reason]
    found = [tuple(row) for row in source.rows.orderBy("id").select(*columns).collect()]
    lost = "`utc` has nanoseconds, and a time holds microseconds"
    assert found == [(1_751_364_000_123_456,) * 2 + (None,), (-1, -1, None), (None, None, lost), (None, None, None)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (pa.array([dt.time(12)]), "is a time of day, which is not read; write it as text"),
        (pa.array([b"x" * 16], pa.uuid()), "is a UUID, which is not read; write it as text"),
        (
            pa.array([[dt.datetime(2026, 1, 1)]], pa.list_(pa.timestamp("ns"))),
            "is a time of nanoseconds within another type, which",
        ),
        (pa.array([1.0], pa.float16()), "is a number of 16 bits, which is not read; write it as a float"),
    ],
)
def test_types_of_parquet_that_are_not_read_are_told(tmp_path, values, sentence):
    pq.write_table(pa.table({"v": values}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet: the column `v` {sentence}"):
        parquet_files.parquet_schema([str(tmp_path / "a.parquet")])


def test_folders_of_parquet_are_text_unless_a_type_is_declared(spark, tmp_path):
    for store in ("1", "01", "1.0"):
        (tmp_path / f"store={store}").mkdir()
        pq.write_table(
            pa.table({"id": [1], "odd name": [2], "big": pa.array([2**64 - 1], pa.uint64())}),
            tmp_path / f"store={store}" / "a.parquet",
        )
    source = sources.read_source(spark, str(tmp_path), {}, None)
    assert sorted(tuple(row) for row in source.rows.select("store", "id", "big").collect()) == [
        (store, 1, 2**64 - 1) for store in ("01", "1", "1.0")
    ]
    columns = {"store": "int", "plain": RenamedColumn.model_validate({"from": "odd name", "type": "bigint"})}
    source = sources.read_source(spark, str(tmp_path), columns, None)
    found = sorted((tuple(row) for row in source.rows.select("store", "plain", source.reason).collect()), key=repr)
    assert found == [(1, 2, None), (1, 2, None), (None, 2, "`store` is not int")]


def test_columns_that_spark_takes_for_one_are_told_in_parquet_too(spark, tmp_path):
    folder = tmp_path / "site=1"
    folder.mkdir()
    for name, told in {
        "Site": "has a column `Site`, and so do the names of its folders",
        "ID": "has several columns `id`, which",
    }.items():
        pq.write_table(pa.table({"id": [1], name: [2]}), folder / "a.parquet")
        with pytest.raises(DataError, match=rf"a\.parquet {told}"):
            sources.read_source(spark, str(tmp_path), {}, None)
    (folder / "a.parquet").unlink()
    (folder / "a.csv").write_text("id,SITE\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv has a column `SITE`, and so do the names of its folders; rename one"):
        sources.read_source(spark, str(tmp_path), {}, None)
