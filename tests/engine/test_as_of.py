"""The as-of join: on both engines what its definition says, ties included, by loops over Python's values."""

import math
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyfold.engine import sorted_batches
from keyfold.engine.as_of import AT, FROM, INSTANT, Answers, order_keys
from keyfold.engine.frame import Joined
from keyfold.errors import PromiseError

OTHER = pa.schema(
    [
        ("e", pa.string()),
        ("d", pa.int64()),
        ("t", INSTANT),
        ("k", INSTANT),
        ("x", pa.float64()),
        ("s", pa.string()),
        ("b", pa.bool_()),
    ]
)
ROWS = pa.schema([("n", pa.int64()), ("e", pa.string()), ("d", pa.int64()), ("at", INSTANT)])
TIMES = st.sampled_from([None, 0, 1, 1, 2, 3])
ENTITIES = st.sampled_from([None, "", "a", "a", "a", "ß"])
DOUBLES = st.sampled_from([None, 0.0, -0.0, 1.5, -1.5, math.nan, math.inf, -math.inf, 5e-324])
TEXTS = st.sampled_from([None, "", "a", "Z", "\U00010000", "\uffff"])
DAYS = st.sampled_from([1, 1, 1, 2])
OTHER_ROW = st.tuples(ENTITIES, DAYS, TIMES, TIMES, DOUBLES, TEXTS, st.sampled_from([None, False, True]))
OTHERS = st.one_of(st.lists(OTHER_ROW, min_size=6, max_size=20), st.lists(OTHER_ROW, max_size=6))
LABELS = st.lists(st.tuples(ENTITIES, DAYS, TIMES), min_size=1, max_size=12)
TIE = [("a", 1, 3, 3, x, None, None) for x in (0.0, -0.0, None, -0.0)]
LATE = [
    ("a", 1, 0, 3, 1.5, None, None),
    ("a", 1, 1, 1, -1.5, None, None),
    ("a", 1, 2, 3, None, "a", None),
    ("a", 1, 1, 4, 0.0, "", True),
]


def order(value):
    """The order of values in a tie: NULL, numbers with -0.0 before 0.0, NaN."""
    if value is None:
        return (0,)
    if isinstance(value, float):
        return (1, math.isnan(value), 0.0 if math.isnan(value) else value, math.copysign(1, value) if value == 0 else 0)
    return (1, value.encode() if isinstance(value, str) else value)


def by_definition(row, others, late, ttl):
    entity, d, at = row
    found = []
    for e, other_d, t, k, *values in others:
        known = k if late else t
        if None not in (entity, at, e, t, known) and (e, other_d) == (entity, d) and max(t, known) <= at:
            found.append(((t, known), [order(value) for value in values], values, t))
    if not found:
        return [None] * 3
    _, _, values, t = max(found, key=lambda one: one[:2])
    return [None] * 3 if ttl is not None and t < at - ttl else values


def bits(values):
    return [struct.pack("d", math.nan if math.isnan(v) else v) if isinstance(v, float) else v for v in values]


def joined(engine, labels, others, late, ttl):
    rows = [(n, *row) for n, row in enumerate(labels)]
    left = engine.frame(
        pa.Table.from_arrays([pa.array(c, t.type) for c, t in zip(columns(rows, 4), ROWS, strict=True)], schema=ROWS)
    )
    right = engine.frame(
        pa.Table.from_arrays([pa.array(c, t.type) for c, t in zip(columns(others, 7), OTHER, strict=True)], schema=OTHER)
    )
    values = {"x": "x.of `o`", "s": "s", "b": "b"}
    names = [*values.values()]
    found, unknown = left.as_of(["e", "d"], "at", [Joined("o", right, ["e", "d"], "t", "k" if late else "t", values, ttl)])
    assert found.columns == ["n", "e", "d", "at", *names]
    by_number = {row["n"]: bits([row[name] for name in names]) for row in found.rows()}
    assert found.count() == len(by_number) == len(labels)
    return [by_number[n] for n in range(len(labels))], unknown


def columns(rows, many):
    return [*zip(*rows, strict=True)] if rows else [()] * many


def check(engine, labels, others, late, ttl):
    found, unknown = joined(engine, labels, others, late, ttl)
    assert found == [bits(by_definition(row, others, late, ttl)) for row in labels]
    known = {(e, d) for e, d, t, k, *_ in others if None not in (e, t, k if late else t)}
    assert unknown == [sum((e, d) not in known for e, d, _ in labels)]


@settings(max_examples=20)
@given(LABELS, OTHERS, st.booleans(), st.sampled_from([None, 0, 2]), st.integers(1, 5))
@example([("a", 1, 4)], TIE, False, None, 1)
@example([("a", 1, 4)], TIE[::-1], True, None, 2)
@example([("a", 1, at) for at in range(5)], LATE, True, 2, 1)
@example([("a", 1, at) for at in range(5)], LATE, True, None, 3)
def test_the_embedded_join_is_the_definition(embedded, labels, others, late, ttl, run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_batches, "_RUN", run)
        patch.setattr("keyfold.engine.embedded_frame._BATCH", 2)
        check(embedded, labels, others, late, ttl)


@settings(max_examples=3)
@given(LABELS, OTHERS.filter(lambda rows: len(rows) > 9), st.booleans(), st.sampled_from([None, 2]))
@example([("a", 1, 4), ("ß", 1, 4)], [*TIE, *(("ß", *row[1:]) for row in reversed(TIE))], False, None)
@example([("a", 1, at) for at in range(5)], LATE, True, 2)
def test_the_join_of_spark_is_the_definition(spark_engine, labels, others, late, ttl):
    check(spark_engine, labels, others, late, ttl)


VALUES = [
    pa.array([None, -math.inf, -1.5, -5e-324, -0.0, 0.0, 5e-324, 1.5, math.inf, math.nan]),
    pa.array([None, -(2**63), -1, 0, 2**63 - 1], pa.int64()), pa.array([None, False, True]), pa.array([None, "", "a", "\uffff", "\U00010000"]),
    pa.array([None, 0, 5], INSTANT), pa.array([None, -1, 2], pa.date32()), pa.array([None, [], [None], [None, 1.0], [0.5], [math.nan]]),
    pa.array([None, {"a": None, "b": 2}, {"a": 1, "b": None}, {"a": 1, "b": 0}]), pa.array([None, b"\x7f", b"\x80"]),
]  # fmt: skip


@pytest.mark.parametrize("values", VALUES)
def test_values_have_an_order(values):
    assert np.argsort(order_keys(values), kind="stable").tolist() == [*range(len(values))]
    assert len(set(order_keys(values).tolist())) == len(values)


def test_a_row_from_the_future_is_refused():
    times = {AT: pa.array([1, 2], INSTANT), FROM: pa.array([None, 3], INSTANT), "x": pa.array([1, 2])}
    with pytest.raises(PromiseError, match="view `o`: a row from the future was joined"):
        Answers("o", ["x"])(pa.record_batch(times))
    assert Answers("o", ["x"])(pa.record_batch(times).slice(0, 1)) == [pa.array([1])]


def test_a_table_without_entities_is_one(engine):
    times = [(pa.scalar(at, INSTANT).as_py(), at) for at in (1, 5)]
    other = Joined("o", engine.rows(times, "t timestamp, x int"), [], "t", "t", {"x": "y"})
    found, unknown = engine.rows([(t, x) for t, x in times], "at timestamp, n int").as_of([], "at", [other])
    assert [(row["n"], row["y"]) for row in found.sort(["n"]).rows()] == [(1, 1), (5, 5)]
    assert unknown == [0]
