"""Accuracy at a coverage equals that of the rows with the highest confidence; comparisons are paired."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.evaluation.coverage import Answers, accuracy_curve, compare_answers
from keyfold.evaluation.curves import accuracy_coverage_curve
from keyfold.evaluation.metrics import measure_predictions
from keyfold.labels import Neutral


def answers_of(draw, n, levels=None):
    confidence = draw.random(n) if levels is None else draw.integers(0, levels, n) / levels
    known = draw.random(n) < 0.8
    return Answers(confidence, (draw.random(n) < 0.3 + 0.6 * confidence) & known, known, draw.random(n) < 0.3)


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_the_rows_with_the_highest_confidence_are_answered(n, seed):
    draw = np.random.default_rng(seed)
    model, other, answered = answers_of(draw, n), answers_of(draw, n), draw.random(n) < 0.5
    coverages = [rows / n for rows in range(1, n + 1)]
    own, *at = compare_answers(model, answered, other, np.arange(n), coverages=coverages, replicates=2)
    assert own.coverage.value == pytest.approx(answered.mean())
    right = model.correct[answered & model.known]
    assert own.accuracy.value == pytest.approx(right.mean() if len(right) else np.nan, nan_ok=True)
    for rows, found in enumerate(at, 1):
        for one, accuracy, neutral in (
            (model, found.accuracy, found.neutral),
            (other, found.plain_accuracy, found.plain_neutral),
        ):
            first = np.argsort(-one.confidence)[:rows]
            known = first[one.known[first]]
            expected = one.correct[known].mean() if len(known) else np.nan
            assert accuracy.value == pytest.approx(expected, nan_ok=True)
            assert neutral.value == pytest.approx(one.neutral[first].mean())
        assert found.gain.value == pytest.approx(found.accuracy.value - found.plain_accuracy.value, nan_ok=True)


@given(st.integers(2, 40), st.integers(0, 2**32))
def test_no_order_of_the_rows_matters_also_among_equals(n, seed):
    draw = np.random.default_rng(seed)
    model, other, answered, order = answers_of(draw, n, 3), answers_of(draw, n, 2), draw.random(n) < 0.5, draw.permutation(n)
    shuffled = draw.permutation(n)
    moved = [Answers(*(values[shuffled] for values in one)) for one in (model, other)]
    found = compare_answers(model, answered, other, order, replicates=5)
    again = compare_answers(moved[0], answered[shuffled], moved[1], order[shuffled], replicates=5)
    assert np.array_equal(found, again, equal_nan=True)


def test_equal_models_differ_in_no_replicate_and_one_model_alone_has_no_difference():
    model = answers_of(np.random.default_rng(0), 300)
    _, *at = compare_answers(model, model.confidence > 0.5, model, np.arange(300))
    assert all(tuple(found.gain) == (0, 0, 0) for found in at)
    assert all(np.isnan(found.gain.value) for found in compare_answers(model, model.confidence > 0.5, None, np.arange(300)))


def test_the_interval_of_a_paired_difference_is_narrower_than_those_of_the_accuracies():
    draw = np.random.default_rng(0)
    model = answers_of(draw, 3000)
    other = model._replace(correct=model.correct ^ (draw.random(3000) < 0.05))
    for found in compare_answers(model, model.confidence > 0.5, other, np.arange(3000)):
        assert found.gain.high - found.gain.low < found.accuracy.high - found.accuracy.low


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_the_curve_is_that_of_accuracy_and_coverage_if_all_rows_have_a_true_class(n, seed):
    model = answers_of(np.random.default_rng(seed), n, 7)
    model = model._replace(known=np.ones(n, bool))
    assert np.allclose(accuracy_curve(model), accuracy_coverage_curve(model.correct, model.confidence))


@pytest.mark.parametrize("label", [Neutral("string", ("a", "b", "neutral")), Neutral("string", ("a", "b"), 0.7)])
def test_metrics_of_answered_rows(label):
    draw = np.random.default_rng(1)
    p, y = draw.dirichlet(np.ones(label.width), 500), draw.integers(-1, label.width, 500)
    found = measure_predictions(label, y, p)
    answered = ~label.declines(p)
    counted = answered & (y != 2)
    assert found["coverage"].value == answered.mean()
    assert found["answered_accuracy"].value == pytest.approx((p.argmax(axis=1) == y)[counted].mean())
    assert found["answered_neutral"].value == pytest.approx((y == 2)[answered].mean())
    assert found["accuracy"].value == pytest.approx((p.argmax(axis=1) == y).mean())
