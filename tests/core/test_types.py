"""Values are brought to the fitted type without loss, or refused, in Spark and in Arrow alike."""

import math
from decimal import Decimal, localcontext

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.core.texts import value_texts
from keyfold.core.types import ArrowValue
from keyfold.errors import DataError
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec

pytestmark = pytest.mark.usefixtures("compiled")


@given(
    st.lists(st.one_of(st.none(), st.integers(-(10**38) + 1, 10**38 - 1), st.integers(-(2**54), 2**54)), max_size=20),
    st.sampled_from([0, 2, 18, 22, 23, 38]),
    st.integers(0, 3),
)
def test_numbers_of_decimals_are_the_nearest_doubles(units, scale, skipped):
    with localcontext(prec=60):
        values = [None if n is None else Decimal(n).scaleb(-scale) for n in units]
    array = pa.array(values, pa.decimal128(38, scale)).slice(skipped)
    numbers = ArrowValue(array, "decimal").number.tolist()
    assert [None if math.isnan(x) else x for x in numbers] == [v if v is None else float(v) for v in values[skipped:]]


def test_values_are_written_as_spark_casts_them(spark):
    texts = {
        "double": ["0.0", "-0.0", "1.0", "0.001", "9.9E-4", "9999999.0", "1.0E7", "123456.789", "NaN", "-Infinity", "1.0E22"],
        "float": ["0.1", "1.6777216E7", "3.4028235E38"],
        "decimal(10,3)": ["1.500", "0.000", "-100.000"],
        "decimal(38,18)": ["0.000000000000000001", "12345678901234567890.000000000000000000"],
        "date": ["0001-01-01", "0999-12-31", "9999-12-31"],
        "timestamp": ["2020-01-01 00:00:00", "0001-01-01 01:02:03.000004", "1969-12-31 23:59:59.12", "2020-01-01 10:20:30"],
        "timestamp_ntz": ["2020-01-01 00:00:00.1"],
        "boolean": ["true", "false"],
        "bigint": ["-9223372036854775808", "0"],
        "string": ["", " a"],
    }
    for type_, written in texts.items():
        frame = spark.createDataFrame([(i, text) for i, text in enumerate([*written, None])], "i int, t string")
        rows = (
            frame.selectExpr("i", f"CAST(t AS {type_}) AS v", f"CAST(CAST(t AS {type_}) AS STRING) AS t").toArrow().sort_by("i")
        )
        assert value_texts(rows["v"].combine_chunks()).to_pylist() == rows["t"].to_pylist() == [*written, None]


@pytest.mark.parametrize(
    ("fitted", "column", "message"),
    [
        ("bigint", pa.array(["7"]), "is string, but the spec was fitted on bigint"),
        ("bigint", pa.array([0.5]), "without loss; got 0.5"),
        ("bigint", pa.array([2.0**53]), "without loss"),
        ("double", pa.array([2**53]), "without loss; got 9007199254740992"),
        ("double", pa.array([-(2**63)]), "without loss; got -9223372036854775808"),
        ("string", pa.array([7]), "is bigint, but"),
    ],
)
def test_both_sides_refuse_a_cast_with_loss(spark, fitted, column, message):
    feature = {"numeric": {"input_col": "x"}} if fitted != "string" else {"hashed": {"input_col": "x", "num_buckets": 8}}
    fit_on = {"bigint": [(1,)], "double": [(1.0,)], "string": [("a",)]}[fitted]
    spec = Spec.fit(spark.createDataFrame(fit_on, f"x {fitted}"), {"f": Feature.model_validate(feature)})
    rows = pa.table({"x": column})
    with pytest.raises(DataError, match=message):
        spec.arrow(rows)
    with pytest.raises(Exception, match=message.split("; got")[0]):
        spec.transform(spark.createDataFrame(rows)).collect()


def test_a_gap_does_not_make_an_integer_another_value(spark):
    """pandas turns integers beside a gap into floats; the spec brings them back."""
    spec = Spec.fit(
        spark.createDataFrame([(1,), (None,), (5,)], "x bigint"),
        {"f": Feature.model_validate({"hashed": {"input_col": "x", "num_buckets": 999}})},
    )
    most = 2**53 - 1
    whole, floats = (pa.table({"x": pa.array([1, None, most, -most], t)}) for t in (pa.int64(), pa.float64()))
    assert spec.arrow(whole)["f"].tolist() == spec.arrow(floats)["f"].tolist()
    assert spec.transform(spark.createDataFrame(floats)).toArrow()["f"].to_pylist() == spec.arrow(whole)["f"].tolist()
