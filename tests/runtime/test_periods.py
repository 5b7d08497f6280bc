"""Periods of rows: by their time in a zone, and rows of a period by bounds of their time."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.data import Data
from keyfold.core.names import PERIOD
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Computed
from keyfold.errors import DataError
from keyfold.runtime.periods import in_period, period_of

DAYS = ["2011-12-30", "2018-02-18", "2018-11-04", "2024-02-29", "2024-03-01", "2024-12-31", "2025-01-01", "1582-10-15"]
CASES = [("day", None), ("plain", None), ("at", None)] + [
    ("at", zone) for zone in ("America/Sao_Paulo", "Pacific/Apia", "Asia/Kolkata", "-03:30")
]
LENGTHS = {"year": 4, "month": 7, "day": 10}


def moments():
    """Times around days on which clocks go back over midnight, or leave a day out; and of years that few calendars have."""
    at = [np.datetime64(day, "us") + hours * np.timedelta64(30, "m") for day in DAYS for hours in range(-50, 51)]
    at += [time - np.timedelta64(1, "us") for time in at[:]]
    odd = [np.datetime64(day, "us") for day in ("0000-12-31", "-0044-03-15", "0001-01-01", "9999-12-31T23:59", "12345-06-07")]
    return pa.array([*at, *odd, None], pa.timestamp("us"))


def table():
    at = moments()
    return pa.table({"at": at.cast(pa.timestamp("us", "UTC")), "day": at.cast(pa.date32(), safe=False), "plain": at})


def cases():
    for time, zone in CASES:
        for kind, length in LENGTHS.items():
            yield Data(table="a.b", key=["k"], time=time, period=kind, zone=zone), length


def test_periods_are_the_same_on_both_engines(spark_engine, embedded):
    found = []
    for engine in (spark_engine, embedded):
        frame, columns = engine.frame(table()), []
        for i, (data, _) in enumerate(cases()):
            frame = frame.compute(period_of(data, {c: t for c, t in frame.types.items() if c != PERIOD})).rename(
                {PERIOD: f"p{i}"}
            )
            columns.append(f"p{i}")
        found.append(frame.select(columns).to_arrow().to_pylist())
    assert sorted(map(repr, found[0])) == sorted(map(repr, found[1]))


def test_rows_of_a_period_are_found_by_bounds_as_by_its_text(engine):
    frame, there = engine.frame(table()).persist(), 0
    for data, length in cases():
        if engine.name == "spark" and length != 7:
            continue  # as slow as it is equal
        periods = [*dict.fromkeys(day[:length] for day in DAYS[::2]), "2024-2-29", ""]
        texts = frame.compute(period_of(data, frame.types), ["at"]).to_arrow()
        wanted = [pair for pair in pairs(texts) if pair[1] in periods]
        first, *others = (in_period(data, frame, period).select(["at", PERIOD]) for period in periods)
        assert sorted(pairs(first.union(*others).to_arrow())) == sorted(wanted), data
        there += len(wanted) > 0
    assert there > 6


def pairs(rows):
    return list(zip(rows["at"].cast(pa.int64()).fill_null(0).to_pylist(), rows[PERIOD].to_pylist(), strict=True))


def test_a_period_needs_a_time(engine):
    data = Data(table="a.b", key=["k"], time="t", period="month")
    with pytest.raises(DataError, match=r"data.time: `t` is string; it must be a date or a timestamp"):
        period_of(data, engine.rows([("x",)], "t string").types)


def test_an_ingested_table_has_its_periods(engine):
    data = Data(table="a.b", key=["k"], time="t", period="month")
    frame = engine.rows([("2024-01", "x"), ("2024-02", "y")], f"{PERIOD} string, t string")
    assert frame.compute(period_of(data, frame.types)).where(col("t") == lit("y")).rows()[0][PERIOD] == "2024-02"
    assert [row["t"] for row in in_period(data, frame, "2024-01").rows()] == ["x"]


def test_kernels_get_rows_of_the_period_alone(embedded):
    computed = []

    def kernel(batch):
        computed.extend(batch.column("t").to_pylist())
        return [batch.column("t")]

    frame = embedded.rows([("2024-01", "x"), ("2024-02", "y")], f"{PERIOD} string, t string")
    read = in_period(
        Data(table="a.b", key=["k"], time="t", period="month"), frame.compute(Computed({"same": pa.string()}, kernel)), "2024-01"
    )
    assert read.rows() == [{"t": "x", "same": "x", PERIOD: "2024-01"}]
    assert computed == ["x"]
