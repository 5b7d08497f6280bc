"""What each kind of feature gives, against values known by hand or from another library."""

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from keyfold.errors import ConfError, DataError
from keyfold.features import fitting, matrix
from keyfold.features.fit_plan import FitPlan
from keyfold.features.kind import FeatureOutput
from keyfold.features.kinds import Feature
from keyfold.features.kinds.text import LOWER
from keyfold.features.spec import Spec

pytestmark = pytest.mark.usefixtures("compiled")


def fitted(spark, rows, schema, **features):
    frame = spark.createDataFrame(rows, schema)
    spec = Spec.fit(frame, {name: Feature.model_validate(conf) for name, conf in features.items()})
    return spec, spec.arrow(frame.toArrow())


def test_a_boundary_belongs_to_the_range_above_it(spark):
    xs = [None, math.nan, math.inf, -5.0, 0.0, 9.999, 10.0, 1e9]
    spec, found = fitted(spark, [(x,) for x in xs], "x double", f={"bucketized": {"input_col": "x", "boundaries": [0, 10]}})
    assert found["f"].tolist() == [0, 0, 0, 1, 2, 2, 3, 3]
    assert spec.outs["f"].width == 4


def test_quantiles_are_those_of_numpy_within_the_stated_error(spark):
    xs = np.random.default_rng(0).lognormal(0, 3, 3000)
    features = {
        "b": {"bucketized": {"input_col": "x", "num_buckets": 10}},
        "r": {"numeric": {"input_col": "x", "scale": "robust"}},
    }
    spec, _ = fitted(spark, [(float(x),) for x in xs], "x double", **features)
    wanted = np.quantile(xs, np.arange(1, 10) / 10, method="inverted_cdf")
    assert spec.features["b"].state["boundaries"] == pytest.approx(wanted, rel=2**-8)
    assert spec.features["r"].state["shift"] == pytest.approx(np.quantile(xs, 0.5, method="inverted_cdf"), rel=2**-8)


def test_a_window_that_the_rows_lack_says_what_it_is(spark):
    conf = {"windowed": {"input_col": "x", "column": "w", "over": "3 rows", "take": "mean"}}
    spec, found = fitted(spark, [(1.0,), (None,)], "w double", f=conf)
    assert found["f"].tolist() == [1.0, 1.0]
    said = (
        r"no column `w`, which a feature takes \(mean of `x` over 3 rows; the feature table has it, and series\.States gives it\)"
    )
    with pytest.raises(DataError, match=said):
        spec.arrow(pa.table({"x": [1.0]}))


def test_small_whole_numbers_have_exact_quantiles(spark):
    spec, _ = fitted(spark, [(i,) for i in range(1, 201)], "x int", f={"bucketized": {"input_col": "x", "num_buckets": 4}})
    assert spec.features["f"].state["boundaries"] == [50.0, 100.0, 150.0]


def test_clip_puts_outliers_on_the_quantiles(spark):
    xs = [*range(100), 10**6]
    conf = {"numeric": {"input_col": "x", "clip": [0.05, 0.95]}}
    _, found = fitted(spark, [(x,) for x in xs], "x int", f=conf)
    assert (found["f"].min(), found["f"].max()) == (5.0, 95.0)


def test_unseen_values_have_places_behind_the_vocabulary(spark):
    conf = {"one_hot": {"input_col": "c", "handle_unseen": {"hashed": 5}}}
    spec, _ = fitted(spark, [("a",), ("b",), ("a",)], "c string", f=conf)
    found = spec.arrow(pa.table({"c": ["a", "b", None, *map(str, range(100))]}))["f"]
    assert found[:3].tolist() == [2, 3, 0]
    assert set(found[3:]) == {4, 5, 6, 7, 8}
    assert spec.outs["f"].width == 9


def test_an_exact_cross_shares_no_place(spark):
    rows = [(a, b) for a in [None, "x", "y"] for b in [None, "p", "q", "r"]]
    features = {c: {"index": {"input_col": c}} for c in "ab"}
    cross = {"crossed": {"input_cols": [{"feature": "a"}, {"feature": "b"}], "num_buckets": "exact"}}
    spec, found = fitted(spark, rows, "a string, b string", **features, ab=cross)
    assert len(set(found["ab"].tolist())) == len(rows)
    assert found["ab"][0] == 0
    assert spec.outs["ab"].width == 4 * 5
    with pytest.raises(ConfError, match=r"an exact cross takes features.*`a` is a column"):
        fitted(spark, rows, "a string, b string", ab={"crossed": {"input_cols": ["a", "b"], "num_buckets": "exact"}})


def test_parts_of_a_day(spark):
    at = dt.datetime(2026, 11, 23, 17, 5)  # a Monday
    days = [at, dt.datetime(1969, 12, 31, 23, 59, 59, 999999), None]
    parts = ["hour", "day_of_week", "day_of_month", "month"]
    conf = {"date_parts": {"input_col": "t", "parts": parts}}
    _, found = fitted(spark, [(d,) for d in days], "t timestamp_ntz", f=conf)
    assert found["f"].tolist() == [[18, 1, 23, 11], [24, 3, 31, 12], [0, 0, 0, 0]]
    circle = {"date_parts": {"input_col": "t", "parts": ["hour"], "cyclic": True}}
    _, found = fitted(spark, [(d,) for d in days], "t timestamp_ntz", f=circle)
    angle = 2 * math.pi * 17 / 24
    assert found["f"][[0, 2]].tolist() == [[math.sin(angle), math.cos(angle)], [0, 0]]
    with pytest.raises(ConfError, match="is a date and has no hour"):
        fitted(spark, [(at.date(),)], "t date", f={"date_parts": {"input_col": "t", "parts": ["hour"]}})


def test_words_and_their_pairs(spark):
    rows = [("A rose is a ROSE",), ("rose!",), (None,), ("",)]
    bag = {"text": {"input_col": "t", "max_tokens": 100, "ngrams": 2}}
    sequence = {"text": {"input_col": "t", "max_tokens": 2, "length": 3}}
    spec, found = fitted(spark, rows, "t string", bag=bag, sequence=sequence)
    assert spec.features["bag"].state["vocabulary"] == ["rose", "a", "a rose", "is", "is a", "rose is"]
    assert found["bag"].to_pylist() == [[3, 2, 5, 3, 2, 4, 7, 6, 4], [2], [], []]
    assert found["sequence"].tolist() == [[3, 2, 1], [2, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_lower_case_is_unicodes():
    assert {c for c, small in LOWER.items() if c.lower() != small} == set()


def test_a_sparse_matrix_counts_and_a_dense_one_has_columns(spark):
    features = {
        "x": {"numeric": {"input_col": "x"}},
        "t": {"text": {"input_col": "t", "max_tokens": 5}},
        "d": {"date_parts": {"input_col": "d", "parts": ["day_of_month", "month"]}},
        "i": {"one_hot": {"input_col": "t"}},
    }
    rows = [(0.5, "b a a", dt.date(2026, 3, 9)), (2.0, None, None)]
    spec, found = fitted(spark, rows, "x double, t string, d date", **features)
    assert matrix.sparse_matrix(found, spec.outs).toarray().tolist() == [
        [0.5, 0, 0, 2, 1, 9, 3, 0, 0, 1],
        [2.0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    ]
    without = {name: out for name, out in spec.outs.items() if name != "t"}
    assert matrix.dense_matrix(found, without).tolist() == [[0.5, 9, 3, 2], [2.0, 0, 0, 0]]
    assert matrix.categorical_columns(without) == [False, False, False, True]


def test_tensors_have_the_features_by_name():
    torch = pytest.importorskip("torch")
    arrays = {"i": np.array([3, 0], np.int32), "x": np.array([0.5, 2.0]), "v": np.ones((2, 3), np.float32)}
    bag = pa.array([[2, 1, 1], []], pa.list_(pa.int32()))
    outs = {
        "i": FeatureOutput("int", 9),
        "x": FeatureOutput("double"),
        "v": FeatureOutput("float", 1, 3),
        "bag": FeatureOutput("int", 5, None),
    }
    found = matrix.tensors(arrays | {"bag": bag}, outs)
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "i": torch.int32, "x": torch.float32, "v": torch.float32, "bag": torch.int32
    }  # fmt: skip
    assert (found["i"].tolist(), found["x"].tolist(), tuple(found["v"].shape)) == ([3, 0], [0.5, 2.0], (2, 3))
    assert [row.tolist() for row in found["bag"].unbind()] == [[2, 1, 1], []]


def test_a_name_that_sql_reads_as_a_variable_is_refused_in_sql_text_alone(spark):
    feature = {"hashed": {"input_col": "a${x}", "num_buckets": 9}}
    spec, found = fitted(spark, [("u",)], "`a${x}` string", **{"f${y}": feature})
    assert spec.transform(spark.createDataFrame([("u",)], "`a${x}` string")).toArrow()["f${y}"].to_pylist() == list(
        found["f${y}"]
    )
    with pytest.raises(DataError, match=r"`f\$\{y\}` cannot be a name in SQL"):
        spec.to_sql("t")


@settings(max_examples=5)
@given(
    st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e9, 1e9)), st.sampled_from(["a", "b", "c d", None])), min_size=2),
    st.data(),
)
def test_statistics_of_two_parts_add_up_to_those_of_the_whole(spark, rows, data):
    features = {
        "b": Feature.model_validate({"bucketized": {"input_col": "x", "num_buckets": 5}}),
        "n": Feature.model_validate({"numeric": {"input_col": "x", "scale": "standard"}}),
        "o": Feature.model_validate({"one_hot": {"input_col": "c"}}),
        "t": Feature.model_validate({"text": {"input_col": "c", "max_tokens": 3}}),
    }
    rows = [(1.0, "a"), *rows]
    cut = data.draw(st.integers(1, len(rows) - 1))
    whole, first, second = (spark.createDataFrame(part, "x double, c string") for part in (rows, rows[:cut], rows[cut:]))
    plan = FitPlan.of(whole, features)
    parts = fitting.merge_statistics([plan.measure(first), plan.measure(second)])
    assert plan.spec(parts).digest == plan.spec(plan.measure(whole)).digest == Spec.fit(whole, features).digest


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"bucketized": {"input_col": "x"}}, "either `boundaries` or `num_buckets`"),
        ({"bucketized": {"input_col": "x", "boundaries": [2, 1]}}, "must be ascending"),
        ({"text": {"input_col": "x"}}, "either `num_buckets`"),
        ({"numeric": {"input_col": "x", "clip": [0.5, 2]}}, "two quantiles between 0 and 1"),
    ],
)
def test_a_conf_that_cannot_be_is_refused(conf, message):
    with pytest.raises(ValidationError, match=message):
        Feature.model_validate(conf)
