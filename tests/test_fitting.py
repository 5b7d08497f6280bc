"""Fitting does not depend on the order or layout of rows, and its numbers are right."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold import exact
from keyfold.errors import ConfError, DataError
from keyfold.features import Feature
from keyfold.spec import Spec, in_order

numbers = st.lists(
    st.floats(-(2.0**60), 2.0**60, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 2.0**-9), min_size=1, max_size=30
)


@settings(max_examples=8)
@given(numbers)
def test_sums_are_exact(spark, xs):
    from pyspark.sql import functions as F

    frame = spark.createDataFrame([(x,) for x in xs], "x double")
    row = (
        exact.with_limbs(frame, {"x": (F.col("x"), exact.SUM)})
        .agg(*(a.alias(n) for n, a in exact.sums("x", exact.SUM).items()))
        .first()
    )
    assert exact.total(row.asDict(), "x", exact.SUM) == sum(map(Fraction, xs))


def test_the_spec_is_the_same_for_any_layout(spark):
    rng = random.Random(0)
    rows = [(rng.choice([None, 1e15, -1e15, 1.0]) or rng.gauss(3, 1e-3), rng.choice("abcdé"), i) for i in range(2000)]
    features = {
        "x": Feature.model_validate({"numeric": {"input_col": "x", "scale": "standard"}}),
        "c": Feature.model_validate({"one_hot": {"input_col": "c"}}),
    }
    digests = set()
    for partitions in (1, 3, 7):
        rng.shuffle(rows)
        digests.add(Spec.fit(spark.createDataFrame(rows, "x double, c string, i int").repartition(partitions), features).digest)
    assert len(digests) == 1


def test_standard_and_minmax_are_what_scikit_learn_makes(spark):
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    xs = [[1.5], [2.0], [10.25], [-3.0]]
    frame = spark.createDataFrame(xs, "x double")
    for conf, scaler in (({"scale": "standard"}, StandardScaler()), ({"scale": "minmax", "to": [-1, 1]}, MinMaxScaler((-1, 1)))):
        spec = Spec.fit(frame, {"f": Feature.model_validate({"numeric": {"input_col": "x", **conf}})})
        got = spec.arrow(frame.toArrow())["f"]
        assert got == pytest.approx(scaler.fit_transform(xs).ravel(), rel=1e-14)


def test_a_constant_column_is_zero_and_not_nan(spark):
    frame = spark.createDataFrame([(0.1,), (0.1,), (0.1,)], "x double")
    for scale in ("standard", "minmax"):
        spec = Spec.fit(frame, {"f": Feature.model_validate({"numeric": {"input_col": "x", "scale": scale}})})
        assert spec.arrow(frame.toArrow())["f"].tolist() == [0.0, 0.0, 0.0]


def test_vocabulary_order_is_by_count_then_by_bytes(spark):
    frame = spark.createDataFrame([(c,) for c in ["b", "b", "a", "a", "z", "é", None, "rare"]], "c string")
    spec = Spec.fit(frame, {"f": Feature.model_validate({"one_hot": {"input_col": "c", "max_categories": 4}})})
    assert spec.features["f"].state["vocabulary"] == ["a", "b", "rare", "z"]
    assert spec.arrow(frame.toArrow())["f"].tolist() == [3, 3, 2, 2, 5, 1, 0, 4]


def test_numbers_too_large_to_sum_are_refused(spark):
    with pytest.raises(DataError, match=r"column `x` holds .*below 2\^62"):
        Spec.fit(spark.createDataFrame([(1e30,)], "x double"), {"f": Feature.model_validate({"numeric": {"input_col": "x"}})})


def test_an_unseen_value_is_its_own_or_an_error(spark):
    seen, new = spark.createDataFrame([("a",)], "c string"), spark.createDataFrame([("b",)], "c string")
    own, error = (
        Spec.fit(seen, {"f": Feature.model_validate({"one_hot": {"input_col": "c", "handle_unseen": h}})})
        for h in ("own", "error")
    )
    assert own.arrow(new.toArrow())["f"].tolist() == [r[0] for r in own.transform(new).collect()] == [1]
    with pytest.raises(DataError, match=r"not there at fitting.* b"):
        error.arrow(new.toArrow())
    with pytest.raises(Exception, match=r"not there at fitting.* b"):
        error.transform(new).collect()


def test_features_that_take_features_stand_in_order():
    crossed = Feature.model_validate({"crossed": {"input_cols": ["x", {"feature": "b"}], "num_buckets": 9}}).kind
    hashed = Feature.model_validate({"hashed": {"input_col": "x", "num_buckets": 9}}).kind
    assert in_order({"a": crossed, "b": hashed}) == ["b", "a"]
    with pytest.raises(ConfError, match=r"takes itself: a → a"):
        in_order(
            {
                "a": crossed.model_copy(
                    update={"input_cols": crossed.input_cols[:1] + [crossed.input_cols[1].model_copy(update={"feature": "a"})]}
                )
            }
        )


def test_a_damaged_spec_is_a_sentence():
    with pytest.raises(DataError, match="damaged"):
        Spec.from_json('{"contract": 1}')
    with pytest.raises(DataError, match="contract version 2; this keyfold has 1"):
        Spec.from_json('{"contract": 2}')


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust"])
def test_what_varies_less_than_a_factor_can_say_is_constant(spark, scale):
    frame = spark.createDataFrame([(0.0,), (5e-324,), (5e-324,)], "x double").coalesce(1)
    spec = Spec.fit(frame, {"f": Feature.model_validate({"numeric": {"input_col": "x", "scale": scale}})})
    assert Spec.from_json(spec.to_json()).features["f"].state["factor"] == 0
    assert len(set(spec.arrow(frame.toArrow())["f"].tolist())) == 1
