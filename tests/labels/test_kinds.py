"""All kinds of labels: what is saved is read back, and an answer says what the numbers say."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.labels import Bands, Binary, Classes, Multilabel, Neutral, Number, label_from_json

LABELS = [
    Number("double"), Number("decimal", interval=0.9, error=2.5), Number("double", 0.8, 1.5, points=(1.0, 2.0), sizes=(0.5, 4.0)), Binary("string", "yes", "no"), Binary("bigint", 2**60, 1, 0.25),
    Classes("string", ("a", "b", "c")), Classes("bigint", (1, 2, 3, 2**60)), Bands("double", (1.0, 2.5), -4.0, 9.0, (0.5, 2.0, 5.0)),
    Bands("bigint", (1.0,), 0.0, 2.0, (0.0, 1.5), "median", 0.5), Multilabel("string", ("p", "s", "ü"), (0.5, 0.25, 0.75)),
    Neutral("string", ("no", "yes", "neutral")), Neutral("string", ("no", "yes"), 0.8),
]  # fmt: skip


def numbers_of(label, rows, draw):
    numbers = draw.random((rows, label.width))
    if label.kind in ("classes", "bands"):
        numbers /= numbers.sum(axis=1, keepdims=True)
    numbers[draw.random(rows) < 0.2] = np.nan
    return numbers[:, 0] if label.width == 1 else numbers


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.kind)
@given(st.integers(0, 20), st.integers(0, 2**32))
def test_an_answer_has_the_types_it_names_and_keeps_the_numbers(label, rows, seed):
    numbers = numbers_of(label, rows, np.random.default_rng(seed))
    answer = label.answer(numbers)
    assert {name: array.type for name, array in answer.items()} == label.types
    assert {len(array) for array in answer.values()} == {rows}
    assert np.array_equal(label.numbers(answer), numbers, equal_nan=True)
    missing = np.isnan(numbers.reshape(rows, label.width)).any(axis=1)
    for name in label.types.keys() - {"probability"}:
        assert answer[name].is_null().to_pylist() == missing.tolist(), name


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.kind)
def test_what_is_saved_is_read_back(label):
    assert label_from_json(json.loads(json.dumps(label.to_json()))) == label


def test_labels_of_older_models_are_read_and_damaged_ones_are_not():
    assert label_from_json({"family": "string", "positive": "yes", "negative": "no"}) == Binary("string", "yes", "no")
    assert label_from_json({"family": "double", "positive": None, "negative": None}) == Number("double")
    with pytest.raises(ValueError, match="has no odd"):
        label_from_json({"kind": "number", "family": "double", "odd": 1})


def test_the_most_probable_class_is_predicted_and_the_first_of_equals():
    label = Classes("bigint", (10, 20, 30))
    answer = label.answer(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]))
    assert answer["prediction"].to_pylist() == [20, 10] and answer["probability"].to_pylist() == [0.5, 0.4]
    assert dict(answer["probabilities"][0].as_py()) == {"10": 0.2, "20": 0.5, "30": 0.3}


def test_each_label_has_a_threshold_of_its_own():
    label = Multilabel("string", ("p", "s"), (0.5, 0.25))
    assert label.answer(np.array([[0.5, 0.2], [0.4, 0.3], [0.4, 0.2]]))["prediction"].to_pylist() == [["p"], ["s"], []]
    assert label.measured(pa.chunked_array([["0,1", ""], ["1"]])).tolist() == [[True, True], [False, False], [False, True]]


def test_quantiles_of_bands_are_straight_lines_within_a_band():
    label = Bands("double", (1.0, 2.0), 0.0, 4.0, (0.5, 1.5, 3.0))
    numbers = np.array([[0.25, 0.5, 0.25], [0.0, 0.0, 1.0]])
    assert label.quantile(numbers, 0.5).tolist() == [1.5, 3.0]
    assert label.quantile(numbers, 0.875).tolist() == [3.0, 3.75]
    assert label.point(numbers).tolist() == [1.625, 3.0]
    assert label.codes(np.array([0.99, 1.0, 2.0, 9.0])).tolist() == [0, 1, 2, 2]
