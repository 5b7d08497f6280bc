"""Rows as JSON: a kernel writes what Spark's to_json writes, for all types."""

import base64
import json

import pytest

from keyfold.core.json_texts import row_jsons, sql_row_json
from keyfold.engine import spark_columns

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
