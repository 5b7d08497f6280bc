"""Ranges of numbers, against NumPy and by hand."""

import math

import numpy as np
import pytest

from every_kind import fitted


def test_a_boundary_belongs_to_the_range_above_it():
    xs = [None, math.nan, math.inf, -5.0, 0.0, 9.999, 10.0, 1e9]
    spec, result = fitted([(x,) for x in xs], "x double", f={"bucketized": {"input_col": "x", "boundaries": [0, 10]}})
    assert result["f"].tolist() == [0, 0, 0, 1, 2, 2, 3, 3]
    assert spec.outs["f"].width == 4


def test_quantiles_are_those_of_numpy_within_the_stated_error():
    xs = np.random.default_rng(0).lognormal(0, 3, 3000)
    features = {
        "b": {"bucketized": {"input_col": "x", "num_buckets": 10}},
        "r": {"numeric": {"input_col": "x", "scale": "robust"}},
    }
    spec, _ = fitted([(float(x),) for x in xs], "x double", **features)
    wanted = np.quantile(xs, np.arange(1, 10) / 10, method="inverted_cdf")
    assert spec.features["b"].state["boundaries"] == pytest.approx(wanted, rel=2**-8)
    assert spec.features["r"].state["shift"] == pytest.approx(np.quantile(xs, 0.5, method="inverted_cdf"), rel=2**-8)


def test_small_whole_numbers_have_exact_quantiles():
    spec, _ = fitted([(i,) for i in range(1, 201)], "x int", f={"bucketized": {"input_col": "x", "num_buckets": 4}})
    assert spec.features["f"].state["boundaries"] == [50.0, 100.0, 150.0]
