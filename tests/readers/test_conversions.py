"""Conversions between types: kernels give what Spark's own casts give, or NULL where the cast back gives another value."""

import datetime as dt
import os
import random
from decimal import Context, Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as F

import catalyst_casts as catalyst
from keyfold.readers.casts import arrow_type
from keyfold.readers.conversions import convert

ZONES = (None, "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia")
NUMBERS = ("int", "bigint", "double", "boolean", "decimal(10,2)", "decimal(38,18)", "decimal(20,0)", "decimal(3,3)")
DAYS = ("date", "timestamp", "timestamp_ntz")
EDGES = [0, 1, -1, 2, 127, 2**31 - 1, 2**31, -(2**31), 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 10**8 - 1, 10**8]
DOUBLES = [
    0.5,
    0.1,
    0.125,
    1.005,
    -0.0,
    1e300,
    1e-300,
    float("nan"),
    float("inf"),
    -float("inf"),
    2.0**63,
    -(2.0**63),
    99999999.99,
    1e22,
    0.999,
]
TAKEN_BY_SPARK = (2**63 - 1, 2.0**63)  # each as the other


def numbers(type_, n, r):
    """Values of a type, many near its edges and those of others."""
    found = [None]
    while len(found) < n:
        value = r.choice([*EDGES, *DOUBLES, r.randint(-1000, 1000) / 100, r.randint(-(10**6), 10**6), r.random()])
        if type_ == "boolean":
            found.append(bool(r.randint(0, 1)))
        elif type_ == "double":
            found.append(float(value))
        elif value - value == 0:
            exact = Decimal(repr(value))
            if type_.startswith("decimal"):
                kind = arrow_type(type_)
                exact = exact.quantize(Decimal(1).scaleb(-kind.scale), context=Context(prec=800))
                found += [exact] if abs(exact) < 10 ** (kind.precision - kind.scale) else []
            else:
                found += [int(exact)] if abs(2 * int(exact) + 1) < 2 ** arrow_type(type_).bit_width else []
    return pa.array(found, arrow_type(type_))


def days(type_, n, r):
    """Days and times, many at midnight and where clocks change."""
    midnights = [
        dt.datetime(2024, 10, 27),
        dt.datetime(2024, 3, 31),
        dt.datetime(2011, 12, 30),
        dt.datetime(1, 1, 3),
        dt.datetime(9999, 12, 28),
    ]
    times = [r.choice([*midnights, dt.datetime(2024, 1, 1) + dt.timedelta(r.randint(0, 400))]) for _ in range(n - 1)]
    times = [
        t + dt.timedelta(minutes=15 * r.randint(-96, 0), microseconds=r.choice([0, 0, 1])) if r.random() < 0.7 else t
        for t in times
    ]
    if type_ == "date":
        return pa.array([t.date() for t in times] + [None])
    return pa.array([*times, None], pa.timestamp("us")).cast(arrow_type(type_))


def test_kernels_convert_as_spark_does(spark):
    r, n = random.Random(os.environ.get("KEYFOLD_SEED", "1")), 600
    pairs = [(old, new) for kinds in (NUMBERS, DAYS) for old in kinds for new in (*kinds, "string") if old != new]
    pairs = [
        (old, new, zone) for old, new in pairs if new != "timestamp" for zone in (ZONES if old == "timestamp" else ZONES[:1])
    ]
    table = pa.table({old: (numbers if old in NUMBERS else days)(old, n, r) for old in (*NUMBERS, *DAYS)})
    wanted = spark.createDataFrame(table).select(
        *(catalyst.convert(F.col(f"`{old}`"), old, new, zone).alias(str(i)) for i, (old, new, zone) in enumerate(pairs))
    ).toArrow()  # fmt: skip
    for i, (old, new, zone) in enumerate(pairs):
        found = convert(table[old].combine_chunks(), new, zone)
        expected = wanted[str(i)].combine_chunks().cast(arrow_type(new))
        odd = [
            row
            for row in zip(table[old].to_pylist(), found.to_pylist(), expected.to_pylist(), strict=True)
            if repr(row[1]) != repr(row[2]) and row[0] not in TAKEN_BY_SPARK
        ]
        assert (odd, found.type) == ([], arrow_type(new)), (old, new, zone)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats()), st.sampled_from(NUMBERS))
def test_a_number_that_is_kept_is_the_same_number(values, new):
    for kind, type_ in ((int, "bigint"), (float, "double")):
        array = pa.array([v if v is None or isinstance(v, kind) else None for v in values], arrow_type(type_))
        for old, kept in zip(array.to_pylist(), convert(array, new, None).to_pylist(), strict=True):
            assert kept is None or kept == old or float(kept) == old
