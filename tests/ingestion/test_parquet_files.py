"""Parquet sources: values of all types, types that are refused, and columns that differ by case."""

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import Row
from pyspark.sql import functions as F

from keyfold.conf.columns import RenamedColumn
from keyfold.core.names import FILE
from keyfold.engine.session import temporary_settings
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


EXACT = {  # by type of Spark, values that it holds exactly
    "smallint": pa.array([0, 2**8 - 1, None], pa.uint8()), "int": pa.array([0, 2**16 - 1, None], pa.uint16()),
    "bigint": pa.array([0, 2**32 - 1, None], pa.uint32()), "decimal(20,0)": pa.array([0, 2**64 - 1, None], pa.uint64()),
    "decimal(9,2)": pa.array([Decimal("1.23"), Decimal("-9999999.99"), None], pa.decimal128(9, 2)),
    "decimal(38,38)": pa.array([Decimal("0." + "9" * 38), Decimal("-1E-38"), None], pa.decimal128(38, 38)),
    "decimal(38,0)": pa.array([Decimal("9" * 38), Decimal(-1), None], pa.decimal256(38, 0)),
    "decimal(5,1)": pa.array([Decimal("1.5"), Decimal("-0.1"), None], pa.decimal32(5, 1)),
    "float": pa.array([0.1, -0.0, None], pa.float32()), "array<decimal(20,0)>": pa.array([[2**64 - 1], [], None], pa.list_(pa.uint64())),
    "date": pa.array([0, 86_400_000, None], pa.date64()), "binary": pa.array([b"abc", b"\0\0\0", None], pa.binary(3)),
    "string": pa.array(["x", "", None]).dictionary_encode(), "map<string,int>": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int32())),
    "struct<a:bigint,b:string>": pa.array([{"a": 1, "b": "x"}, {"a": None, "b": None}, None], pa.struct({"a": pa.int64(), "b": pa.string()})),
    "timestamp_ntz": pa.array([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), None], pa.timestamp("us")),
}  # fmt: skip


@pytest.mark.parametrize("by", ["spark", "arrow"])
def test_values_of_parquet_are_exact(spark, tmp_path, by):
    """Also in a file with types that Spark refuses: a time of day, a UUID and half floats."""
    table_ = pa.table({"k": range(3)} | {f"`{type_}": values for type_, values in EXACT.items()})
    if by == "arrow":
        uuids = [uuid.UUID(int=1), uuid.UUID(int=0xF123456789ABCDEF << 64), None]
        table_ = table_.append_column("uuid", pa.array([u and u.bytes for u in uuids], pa.uuid()))
        table_ = table_.append_column("time", pa.array([dt.time(1, 2, 3), dt.time(23, 59, 59, 999_999), None]))
        table_ = table_.append_column("nano", pa.array([1, 86_399_999_999_999, None], pa.time64("ns")))
        table_ = table_.append_column("half", pa.array([1.5, -0.25, None], pa.float16()))
    (tmp_path / "site=%31").mkdir()
    file = tmp_path / "site=%31" / "a.parquet"
    pq.write_table(table_, file, row_group_size=2)
    source = sources.read_source(spark, str(tmp_path), {}, None)
    rows = source.rows.orderBy("k").collect()
    types = {field.name: field.dataType.simpleString() for field in source.rows.schema.fields}
    for type_, values in EXACT.items():
        found = [row[f"`{type_}"] for row in rows]
        found = [[*v.items()] if isinstance(v, dict) else v.asDict() if isinstance(v, Row) else v for v in found]
        assert (types[f"`{type_}"], found) == (type_, values.to_pylist())
    assert [(row.site, row[FILE]) for row in rows] == [("1", str(file))] * 3
    assert rows[0].asDict()["k"] == 0 and source.rows.where(source.reason.isNotNull()).count() == 0
    if by == "arrow":
        assert [row.uuid for row in rows] == [u and str(u) for u in uuids]
        assert [row.time for row in rows] == ["01:02:03.000000", "23:59:59.999999", None]
        assert [row.nano for row in rows] == ["00:00:00.000000001", "23:59:59.999999999", None]
        assert [row.half for row in rows] == [1.5, -0.25, None]


def test_times_of_96_bits_are_exact_or_quarantined(spark, tmp_path):
    """As Impala, Hive and older versions of Spark write them, with years that nanoseconds in 64 bits do not reach."""
    micros = [0, -1, -62_135_596_800_000_000, 253_402_300_799_999_999, None]
    rows = spark.createDataFrame([(i, at) for i, at in enumerate(micros)], "k int, v bigint").coalesce(1)
    with temporary_settings(
        spark, {"spark.sql.parquet.outputTimestampType": "INT96", "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED"}
    ):
        rows.select("k", F.timestamp_micros("v").alias("at")).write.parquet(str(tmp_path / "t"))
    source = sources.read_source(
        spark, str(tmp_path / "t"), {"since": RenamedColumn.model_validate({"from": "at", "type": "timestamp"})}, None
    )
    found = source.rows.orderBy("k").select(F.unix_micros("since"), source.reason).collect()
    assert [tuple(row) for row in found] == [(at, None) for at in micros]
    at = pa.array([1_751_364_000_123_456_789, 1000, None, -1], pa.timestamp("ns"))
    pq.write_table(pa.table({"k": range(4), "at": at}), tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    source = sources.read_source(spark, str(tmp_path / "a.parquet"), {}, None)
    found = source.rows.orderBy("k").select(F.unix_micros("at"), source.reason, source.raw).collect()
    why = "`at` has nanoseconds, and a time holds microseconds"
    assert [tuple(row) for row in found] == [
        (None, why, '{"k":0,"at":"2025-07-01 10:00:00.123456789"}'),
        (1, None, '{"k":1,"at":"1970-01-01T00:00:00.000001Z"}'),
        (None, None, '{"k":2,"at":null}'),
        (None, why, '{"k":3,"at":"1969-12-31 23:59:59.999999999"}'),
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (pa.array([[dt.time(12)]]), "is a time of day within another type, which is not supported; write it as text"),
        (
            pa.StructArray.from_arrays([pa.array([b"x" * 16], pa.uuid())], ["a"]),
            "is a UUID within another type, which is not supported; write it as text",
        ),
        (
            pa.array([[dt.datetime(2026, 1, 1)]], pa.list_(pa.timestamp("ns"))),
            "is a time of nanoseconds within another type, which",
        ),
        (
            pa.array([[1.0]], pa.list_(pa.float16())),
            "is a number of 16 bits within another type, which is not supported; write it as a float",
        ),
        (pa.array([dt.timedelta(1)]), "is an interval, which is not supported; write it as a number"),
        (pa.nulls(1), "is NULL throughout, without a type, which is not supported; write it as a column of some type"),
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
