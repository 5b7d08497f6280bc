"""Parquet sources: values of all types, types that are refused, and columns that differ by case."""

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from keyfold.conf.columns import RenamedColumn
from keyfold.core.names import FILE, RAW, REASON
from keyfold.engine.session import temporary_settings
from keyfold.errors import DataError
from keyfold.ingestion import parquet_files, sources
from source_rows import cells
from test_bad_input import refusal

LOST = "`{}` has nanoseconds, and a time holds microseconds"


def micros(at):
    """A time as microseconds since 1970."""
    return at and (at.replace(tzinfo=None) - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)


def test_nanoseconds_in_parquet_are_microseconds_where_nothing_is_lost(engine, tmp_path):
    at = [1_751_364_000_123_456_000, -1_000, 1_751_364_000_123_456_789, None]
    table_ = pa.table({"id": range(4), "utc": pa.array(at, pa.timestamp("ns", "UTC")), "wall": pa.array(at, pa.timestamp("ns"))})
    pq.write_table(table_, tmp_path / "a.parquet")
    source = sources.read_source(engine, str(tmp_path / "a.parquet"), {}, None)
    assert {name: source.rows.types[name] for name in ("utc", "wall")} == {"utc": "timestamp", "wall": "timestamp_ntz"}
    found = cells(source, "utc", "wall", REASON, RAW, by="id")
    assert [(*map(micros, row[:2]), *row[2:]) for row in found] == [
        (1_751_364_000_123_456,) * 2 + (None, '{"id":0,"utc":1751364000123456000,"wall":1751364000123456000}'),
        (-1, -1, None, '{"id":1,"utc":-1000,"wall":-1000}'),
        (None, None, LOST.format("utc"), '{"id":2,"utc":"2025-07-01 10:00:00.123456789","wall":"2025-07-01 10:00:00.123456789"}'),
        (None, None, None, '{"id":3,"utc":null,"wall":null}'),
    ]


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


ODD = {  # by column, values of types that engines lack, and how they are read
    "uuid": (pa.array([uuid.UUID(int=1).bytes, uuid.UUID(int=0xF123456789ABCDEF << 64).bytes, None], pa.uuid()),
             [str(uuid.UUID(int=1)), str(uuid.UUID(int=0xF123456789ABCDEF << 64)), None]),
    "time": (pa.array([dt.time(1, 2, 3), dt.time(23, 59, 59, 999_999), None]), ["01:02:03.000000", "23:59:59.999999", None]),
    "nano": (pa.array([1, 86_399_999_999_999, None], pa.time64("ns")), ["00:00:00.000000001", "23:59:59.999999999", None]),
    "half": (pa.array([1.5, -0.25, None], pa.float16()), [1.5, -0.25, None]),
}  # fmt: skip


def test_values_of_parquet_are_exact(engine, tmp_path):
    """Also those of types that engines lack: a time of day, a UUID and half floats."""
    table_ = pa.table({"k": range(3)} | {f"`{type_}": values for type_, values in EXACT.items()})
    for name, (values, _) in ODD.items():
        table_ = table_.append_column(name, values)
    (tmp_path / "site=%31").mkdir()
    file = tmp_path / "site=%31" / "a.parquet"
    pq.write_table(table_, file, row_group_size=2)
    source = sources.read_source(engine, str(tmp_path), {}, None)
    for type_, values in EXACT.items():
        found = [value for (value,) in cells(source, f"`{type_}", by="k")]
        assert (source.rows.types[f"`{type_}"], found) == (type_, values.to_pylist())
    assert cells(source, "site", FILE, REASON, by="k") == [("1", str(file), None)] * 3
    assert cells(source, *ODD, by="k") == [*zip(*(read for _, read in ODD.values()), strict=True)]


def test_times_of_96_bits_are_exact_or_quarantined(spark, engine, tmp_path):
    """As Impala, Hive and older versions of Spark write them, with years that nanoseconds in 64 bits do not reach."""
    since = [0, -1, -62_135_596_800_000_000, 253_402_300_799_999_999, None]
    rows = spark.createDataFrame([(i, at) for i, at in enumerate(since)], "k int, v bigint").coalesce(1)
    with temporary_settings(
        spark, {"spark.sql.parquet.outputTimestampType": "INT96", "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED"}
    ):
        rows.select("k", F.timestamp_micros("v").alias("at")).write.parquet(str(tmp_path / "t"))
    renamed = {"since": RenamedColumn.model_validate({"from": "at", "type": "timestamp"})}
    source = sources.read_source(engine, str(tmp_path / "t"), renamed, None)
    assert [(micros(at), reason) for at, reason in cells(source, "since", REASON, by="k")] == [(at, None) for at in since]
    at = pa.array([1_751_364_000_123_456_789, 1000, None, -1], pa.timestamp("ns"))
    pq.write_table(pa.table({"k": range(4), "at": at}), tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    source = sources.read_source(engine, str(tmp_path / "a.parquet"), {}, None)
    assert [(micros(at), *more) for at, *more in cells(source, "at", REASON, RAW, by="k")] == [
        (None, LOST.format("at"), '{"k":0,"at":"2025-07-01 10:00:00.123456789"}'),
        (1, None, '{"k":1,"at":"1970-01-01T00:00:00.000001Z"}'),
        (None, None, '{"k":2,"at":null}'),
        (None, LOST.format("at"), '{"k":3,"at":"1969-12-31 23:59:59.999999999"}'),
    ]


def test_files_in_another_file_system_are_read_by_spark(spark_engine, tmp_path, monkeypatch):
    (tmp_path / "site=1").mkdir()
    file = tmp_path / "site=1" / "a.parquet"
    pq.write_table(pa.table({"k": [1, 2], "at": pa.array([1, None], pa.timestamp("us"))}), file)
    monkeypatch.setattr(parquet_files, "local_path", lambda _: None)
    files = [str(file)]
    source = sources.read_source(spark_engine, str(tmp_path), {"site": "int"}, None, files, needed=["at"])
    assert cells(source, "k", "at", "site", REASON, RAW, FILE, by="k") == [
        (1, dt.datetime(1970, 1, 1, 0, 0, 0, 1), 1, None, None, str(file)),
        (2, None, 1, None, '{"k":2,"at":null,"site":"1"}', str(file)),
    ]


def test_a_broken_file_is_named_and_files_may_order_their_columns(engine, tmp_path):
    pq.write_table(pa.table({"a": range(10_000), "b": ["x"] * 10_000}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"b": ["y"], "a": [-1]}), tmp_path / "b.parquet")
    source = sources.read_source(engine, str(tmp_path), {}, None)
    assert cells(source, "a", "b", by="a")[:2] == [(-1, "y"), (0, "x")]
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4:2000] = bytes(1996)
    (tmp_path / "a.parquet").write_bytes(content)
    code, sentence = refusal(sources.read_source(engine, str(tmp_path), {}, None).rows.to_arrow)
    assert (code, "a.parquet cannot be read: it was removed" in sentence) == (3, True)


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
        parquet_files.read_forms([str(tmp_path / "a.parquet")])


def test_folders_of_parquet_are_text_unless_a_type_is_declared(engine, tmp_path):
    for store in ("1", "01", "1.0"):
        (tmp_path / f"store={store}").mkdir()
        pq.write_table(
            pa.table({"id": [1], "odd name": [2], "big": pa.array([2**64 - 1], pa.uint64())}),
            tmp_path / f"store={store}" / "a.parquet",
        )
    source = sources.read_source(engine, str(tmp_path), {}, None)
    assert cells(source, "store", "id", "big", by="store") == [(store, 1, 2**64 - 1) for store in ("01", "1", "1.0")]
    columns = {"store": "int", "plain": RenamedColumn.model_validate({"from": "odd name", "type": "bigint"})}
    source = sources.read_source(engine, str(tmp_path), columns, None, needed=["id"])
    raw = '{"id":1,"odd name":2,"big":18446744073709551615,"store":"1.0"}'
    assert cells(source, "store", "plain", REASON, RAW, by=FILE) == [
        (1, 2, None, None), (None, 2, "`store` is not int", raw), (1, 2, None, None),
    ]  # fmt: skip


def test_columns_that_spark_takes_for_one_are_told_in_parquet_too(embedded, tmp_path):
    folder = tmp_path / "site=1"
    folder.mkdir()
    for name, told in {
        "Site": "has a column `Site`, and so do the names of its folders",
        "ID": "has several columns `id`, which",
    }.items():
        pq.write_table(pa.table({"id": [1], name: [2]}), folder / "a.parquet")
        with pytest.raises(DataError, match=rf"a\.parquet {told}"):
            sources.read_source(embedded, str(tmp_path), {}, None)
    (folder / "a.parquet").unlink()
    (folder / "a.csv").write_text("id,SITE\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv has a column `SITE`, and so do the names of its folders; rename one"):
        sources.read_source(embedded, str(tmp_path), {}, None)
