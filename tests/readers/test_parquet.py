"""Parquet files without an engine: values in plain types."""

import datetime as dt
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keyfold.errors import DataError
from keyfold.readers.parquet import plain_type, read_form, read_plain

UUIDS = [uuid.UUID(int=0x0123456789ABCDEFFEDCBA9876543210), None]


def test_types_that_engines_lack_are_plain_types(tmp_path):
    odd = {
        "time": pa.array([dt.time(1, 2, 3), None]), "uuid": pa.array([UUIDS[0].bytes, None], pa.uuid()),
        "half": pa.array([0.5, None], pa.float16()), "big": pa.array([2**64 - 1, None], pa.uint64()),
        "code": pa.array(["x", None]).dictionary_encode(), "json": pa.array(["{}", None], pa.json_()),
    }  # fmt: skip
    pq.write_table(pa.table(odd), tmp_path / "a.parquet")
    assert read_form(str(tmp_path / "a.parquet")).has_rare_types
    ((rows, lost, _),) = read_plain(str(tmp_path / "a.parquet"))
    assert rows.to_pylist() == [
        {"time": "01:02:03.000000", "uuid": str(UUIDS[0]), "half": 0.5, "big": 2**64 - 1, "code": "x", "json": "{}"},
        dict.fromkeys(odd),
    ]
    assert lost == {}
    for name in ("time", "uuid", "half"):
        pq.write_table(pa.table({name: odd[name]}), tmp_path / "a.parquet")
        assert read_form(str(tmp_path / "a.parquet")).has_rare_types
    pq.write_table(pa.table({name: odd[name] for name in ("big", "code", "json")}), tmp_path / "a.parquet")
    assert not read_form(str(tmp_path / "a.parquet")).has_rare_types


def test_types_within_types_are_plain():
    nested = pa.map_(pa.large_string(), pa.struct({"a": pa.list_(pa.uint8()), "b": pa.decimal256(38, 3)}))
    assert plain_type(nested) == pa.map_(pa.string(), pa.struct({"a": pa.list_(pa.int16()), "b": pa.decimal128(38, 3)}))


def test_nanoseconds_that_would_be_lost_are_told_with_their_text(tmp_path):
    at = pa.array([1_000, -1, None, 1_751_364_000_123_456_789], pa.timestamp("ns"))
    for is_int96 in (False, True):
        pq.write_table(pa.table({"k": range(4), "at": at}), tmp_path / "a.parquet", use_deprecated_int96_timestamps=is_int96)
        assert read_form(str(tmp_path / "a.parquet")).has_rare_types == is_int96
        batches = [*read_plain(str(tmp_path / "a.parquet"), size=3)]
        assert [batch.rows.num_rows for batch in batches] == [3, 1]
        values = [value for batch in batches for value in batch.rows["at"].cast(pa.timestamp("us")).to_pylist()]
        assert values == [dt.datetime(1970, 1, 1, 0, 0, 0, 1), None, None, None]
        lost = [text for batch in batches for text in batch.lost["at"].to_pylist()]
        assert lost == [None, "1969-12-31 23:59:59.999999999", None, "2025-07-01 10:00:00.123456789"]


@pytest.mark.parametrize(
    "metadata",
    [{"org.apache.spark.version": "2.4.8"}, {"org.apache.spark.version": "3.5.0", "org.apache.spark.legacyDateTime": ""}],
)
def test_days_of_the_julian_calendar_are_refused(tmp_path, metadata):
    file = str(tmp_path / "a.parquet")
    for day, kind in (
        (dt.date(1582, 10, 15), pa.date32()),
        (dt.date(1582, 10, 14), pa.date32()),
        (dt.datetime(1582, 10, 14, 23), pa.timestamp("us")),
    ):
        rows = pa.table({"day": pa.array([None, day], kind)})
        pq.write_table(rows.replace_schema_metadata(metadata), file)
        if day == dt.date(1582, 10, 15):
            assert next(iter(read_plain(file))).rows["day"].to_pylist() == [None, day]
        else:
            with pytest.raises(
                DataError, match=r"a.parquet: the column `day` has days before 1582-10-15, which Spark wrote by the Julian"
            ):
                [*read_plain(file)]
    pq.write_table(rows, file)
    assert next(iter(read_plain(file))).rows["day"].to_pylist() == [None, day], "others write the Gregorian calendar"
