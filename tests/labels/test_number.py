"""A number, its logarithm, and intervals around it."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.labels import Number, label_from_json

POSITIVE = st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=20).map(np.array)


@given(POSITIVE)
def test_an_estimator_learns_the_logarithm_and_the_answer_is_in_the_labels_unit(prices):
    label, truth = Number("double", transform="log"), pa.chunked_array([prices])
    assert label.encode(truth) == pytest.approx(np.log(prices))
    assert label.measured(truth).tolist() == prices.tolist()
    assert label.inverted(label.encode(truth)) == pytest.approx(prices, rel=1e-12)
    assert Number("double").encode(truth).tolist() == Number("double").inverted(prices).tolist() == prices.tolist()


@given(POSITIVE, st.floats(0, 3))
def test_the_interval_of_a_logarithm_is_symmetric_in_the_logarithm(prices, error):
    low, high = Number("double", 0.9, error, "log").bounds(prices)
    assert np.log(high) - np.log(prices) == pytest.approx(np.full(len(prices), error), abs=1e-9)
    assert low * high == pytest.approx(prices**2)
    low, high = Number("double", 0.9, error).bounds(prices)
    assert (low.tolist(), high.tolist()) == ((prices - error).tolist(), (prices + error).tolist())


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_number_without_a_finite_answer_has_no_interval_either():
    label = Number("double", 0.9, 1.0, "log")
    answer = label.answer(label.inverted(np.array([0.0, 800.0, np.nan])))
    assert [answer[name].is_null().to_pylist() for name in ("prediction", "low", "high")] == [[False, True, True]] * 3
    answer = label.answer(np.array([5.0, 0.0, -1.0]))  # such as those of a model that was trained elsewhere
    assert answer["prediction"].to_pylist() == [5.0, 0.0, -1.0] and answer["low"][2].as_py() is None


def test_the_size_of_errors_is_on_lines_between_the_points():
    label = Number("double", 0.9, 2.0, points=(10.0, 20.0), sizes=(1.0, 3.0))
    low, high = label.bounds(np.array([0.0, 10.0, 15.0, 20.0, 99.0]))
    assert (high - low).tolist() == [4, 4, 8, 12, 12]


def test_a_label_without_sizes_of_errors_is_saved_as_before():
    assert Number("double", 0.9, 2.0).to_json() == {
        "kind": "number",
        "family": "double",
        "interval": 0.9,
        "error": 2.0,
        "transform": None,
    }
    scaled = Number("double", 0.9, 2.0, points=(1.0,), sizes=(2.0,))
    assert label_from_json(json.loads(json.dumps(scaled.to_json()))) == scaled
