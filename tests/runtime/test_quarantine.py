"""Quarantined rows: their place and their raw text, on both engines."""

import base64
import json

import pytest

from keyfold.core.names import FILE, LINE, PERIOD, RAW, REASON
from keyfold.runtime import quarantine

VALUES = """
    cast(0.000000000000000001 as decimal(38,18)) a, cast(0 as decimal(38,18)) a0, cast(-1.5 as decimal(10,3)) b, 1e-5D c, 1e22D d,
    double('NaN') e, double('-Infinity') e2, float(0.1) f, cast(null as int) g, true h, date'2020-01-02' i,
    timestamp'2020-01-01 01:02:03.123956' j, timestamp'1969-12-31 23:59:59.9' k, timestamp_ntz'2020-01-01 01:02:03.120000' l,
    X'00FF' m, array(1,null,3) n, map('a',1,'b',cast(null as int)) o, named_struct('x',1,'y',cast(null as string)) p,
    timestamp'0001-01-01 00:00:00' q, map(1,'x') s, cast(5 as tinyint) t, cast(array() as array<int>) u, cast(null as array<int>) v, map_filter(map('a', 1), (k, v) -> v > 1) w,
    array(named_struct('x', array(1.5D), 'y', 'é')) y
"""
TEXT = "a\"\\/\x00\x01\x1f\x7f\b\f\n\r\té\u2028👩<>&'"


@pytest.fixture(scope="module")
def rows(spark):
    """Rows of all types, twice: with values, and NULL."""
    one = spark.sql(f"SELECT {VALUES}, unbase64('{base64.b64encode(TEXT.encode()).decode()}') bytes, 'file.csv' file")
    one = one.selectExpr("*", "decode(bytes, 'UTF-8') `a text.`").drop("bytes")
    empty = one.selectExpr(*(f"CAST(NULL AS {type_}) `{name}`" for name, type_ in one.dtypes))
    return one.unionByName(empty).selectExpr("*", f"'x' {REASON}", f"'2020' {PERIOD}")


def test_raw_texts_are_the_json_of_spark(spark_engine, embedded, rows):
    table = rows.toArrow()
    found = []
    for engine in (spark_engine, embedded):
        account = engine.frame(table).compute(quarantine._account(table.column_names), [PERIOD, REASON])
        found.append(sorted(account.rows(), key=lambda row: len(row["raw"])))
    assert found[0] == found[1]
    assert json.loads(found[1][1]["raw"])["a text."] == TEXT
    assert {row["file"] for row in found[1]} == {None}, "a column of the data that is named so is none of the account"


def test_a_line_that_was_read_is_kept_as_it_was(engine):
    rows = [("f.csv", 7, "1;2", "x", "all", 1), ("f.csv", 8, None, "y", "all", 2)]
    frame = engine.rows(rows, f"{FILE} string, {LINE} int, {RAW} string, {REASON} string, {PERIOD} string, raw int")
    account = frame.compute(quarantine._account(frame.columns), [PERIOD, REASON]).sort(["line"]).rows()
    assert [(row["file"], row["line"], row["raw"]) for row in account] == [("f.csv", 7, "1;2"), ("f.csv", 8, '{"raw":2}')]
