"""Values are brought to the fitted type without loss, or refused, in Spark and in Arrow alike."""

import pyarrow as pa
import pytest

from keyfold.errors import DataError
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec

pytestmark = pytest.mark.usefixtures("compiled")


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
