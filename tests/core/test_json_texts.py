"""Rows as JSON: a kernel writes what Spark's to_json writes, for all types."""

import base64
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from keyfold.core.json_texts import row_jsons, sql_row_json, text_jsons
from keyfold.engine import spark_columns
from keyfold.engine.spark_columns import col

NAMES = ["id", 'a "quoted" \\ name', "größe\t(m²)", "e"]
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
    return one.unionByName(empty)


@pytest.mark.parametrize("exact", [False, True])
def test_rows_are_the_json_of_spark(rows, exact):
    found = (
        rows.select(spark_columns.column(sql_row_json(rows.columns, exact=exact)).alias("json"), "*").toArrow().combine_chunks()
    )
    (batch,) = found.to_batches()
    texts = row_jsons(batch, rows.columns, exact=exact).to_pylist()
    assert texts == found["json"].to_pylist()
    assert json.loads(texts[0])["a text."] == TEXT
    assert ("01:02:03.123956Z" in texts[0]) == exact and set(json.loads(texts[1]).values()) == {None}


@settings(max_examples=3)
@given(
    st.lists(st.lists(st.none() | st.text() | st.text('\0\x07\b\t\n\f\r\x1f"\\/\x7f\u2028é'), min_size=4, max_size=4), min_size=1)
)
def test_texts_are_the_json_of_spark(spark, rows):
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    frame = spark.createDataFrame(pa.table(columns, [f"c{i}" for i in range(4)]))
    pairs = zip(["c0", "c1", "c2", "c3"], NAMES, strict=True)
    written = frame.select(F.to_json(F.struct(*(col(c).alias(name) for c, name in pairs)), {"ignoreNullFields": "false"}))
    assert text_jsons(NAMES, columns).to_pylist() == [row[0] for row in written.collect()]


@given(st.data())
def test_slices_and_nested_values_are_written_alike(data):
    """Whatever the offset of an array, and whatever is below NULL."""
    values = st.fixed_dictionaries(
        {"s": st.none() | st.text(max_size=3), "l": st.none() | st.lists(st.none() | st.integers(0, 9), max_size=3)}
    )
    kind = pa.list_(pa.struct({"s": pa.string(), "l": pa.list_(pa.int64())}))
    rows = data.draw(st.lists(st.none() | st.lists(st.none() | values, max_size=3), min_size=1, max_size=6))
    whole = pa.record_batch(
        {"v": pa.array(rows, kind), "m": pa.array([row and [("k", len(row))] for row in rows], pa.map_(pa.string(), pa.int64()))}
    )
    start = data.draw(st.integers(0, len(rows)))
    part = whole.slice(start)
    written = row_jsons(part, ["v", "m"]).to_pylist()
    expected = [{"v": row, "m": row and {"k": len(row)}} | ({"m": {}} if row == [] else {}) for row in rows]
    assert [json.loads(text) for text in written] == expected[start:]
    assert written == row_jsons(whole, ["v", "m"]).to_pylist()[start:]
