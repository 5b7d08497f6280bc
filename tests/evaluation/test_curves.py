"""Curves against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keyfold.evaluation import curves
from keyfold.evaluation.metrics import measure_predictions
from keyfold.labels import Binary

chances = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))


@given(rows=st.lists(st.tuples(st.booleans(), chances), min_size=2, max_size=150))
@settings(deadline=None)
def test_curves_lie_on_those_of_sklearn(rows):
    y, p = map(np.array, zip(*rows, strict=True))
    assume(y.any() and not y.all())
    x_roc, y_roc, _ = oracle.roc_curve(y, p, drop_intermediate=False)
    precision, recall, _ = oracle.precision_recall_curve(y, p)
    roc, pr = curves.roc_curve(y, p), curves.pr_curve(y, p)
    assert set(zip(*roc, strict=True)) <= set(zip(x_roc, y_roc, strict=True))
    assert set(list(zip(*pr, strict=True))[1:]) <= set(zip(recall, precision, strict=True))
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(oracle.roc_auc_score(y, p))
    assert (pr.x[0], pr.y[0]) == (0, pr.y[1])


def test_curves_are_thinned_and_keep_their_area():
    rng = np.random.default_rng(1)
    p = rng.random(50_000)
    y = rng.random(50_000) < p**4
    roc, lift = curves.roc_curve(y, p), curves.lift_curve(y, p)
    assert max(map(len, [*roc, *lift, *curves.pr_curve(y, p)])) <= 200
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(oracle.roc_auc_score(y, p), abs=1e-3)
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert np.diff(roc.y).max() < 0.012
    assert lift.y[-1] == pytest.approx(1)
    assert lift.y[19] == pytest.approx(measure_predictions(Binary("boolean"), y, p, replicates=0)["lift_top_decile"].value)


def test_curves_of_one_class_are_nan():
    assert np.isnan(curves.roc_curve([0, 0], [0.1, 0.2]).y).all()
    assert np.isnan(curves.pr_curve([0, 0], [0.1, 0.2]).x).all()
    assert np.isnan(curves.roc_curve(np.ones(1000), np.linspace(0, 1, 1000)).x).all()


def test_calibration_bins_never_part_equal_probabilities():
    p = np.array([0.1] * 50 + [0.2] * 30 + list(np.linspace(0.5, 0.9, 20)))
    y = np.arange(100) % 2
    result = curves.calibration(y, p, bins=5, truth=p / 2)
    assert result.rows.tolist() == [50, 30, 20]
    assert result.predicted == pytest.approx([0.1, 0.2, 0.7])
    assert result.truth == pytest.approx([0.05, 0.1, 0.35])
    assert result.observed == pytest.approx([0.5, 0.5, 0.5])
    # Wilson's interval of 10 in 20.
    assert (result.low[2], result.high[2]) == pytest.approx((0.2993, 0.7007), abs=1e-4)


def test_calibration_bins_are_about_equal():
    assert curves.calibration(np.ones(1000), np.linspace(0, 1, 1000)).rows.tolist() == [100] * 10
    assert curves.calibration([], []).rows.size == 0


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0.1, 5)), min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_the_confusion_matrix_is_that_of_sklearn(rows):
    y, predicted, weight = map(np.array, zip(*rows, strict=True))
    expected = oracle.confusion_matrix(y, predicted, labels=range(4), sample_weight=weight)
    assert curves.confusion_matrix(y, predicted, 4, weight=weight) == pytest.approx(expected)


def test_an_unknown_class_has_a_row_of_its_own_in_the_confusion_matrix():
    assert curves.confusion_matrix([0, 1, -1], [0, 1, 1], 2).tolist() == [[1, 0], [0, 1], [0, 1]]


def test_accuracy_by_coverage_pools_equal_confidences_and_ends_with_all_rows():
    curve = curves.accuracy_coverage_curve([True, False, True, False], [0.9, 0.8, 0.8, 0.5])
    assert (curve.x.tolist(), curve.y.tolist()) == ([0.25, 0.75, 1.0], [1.0, 2 / 3, 0.5])
    weighted = curves.accuracy_coverage_curve([True, False], [0.9, 0.5], weight=[1, 3])
    assert (weighted.x.tolist(), weighted.y.tolist()) == ([0.25, 1.0], [1.0, 0.25])
    assert len(curves.accuracy_coverage_curve([], []).x) == 0


@given(rows=st.lists(st.tuples(st.booleans(), st.sampled_from([0.2, 0.5, 0.9]) | st.floats(0, 1)), min_size=1, max_size=30))
@settings(deadline=None)
def test_accuracy_by_coverage_is_that_of_the_rows_above_each_confidence(rows):
    correct, confidence = map(np.array, zip(*rows, strict=True))
    expected = {(confidence >= t).mean(): correct[confidence >= t].mean() for t in confidence}
    curve = curves.accuracy_coverage_curve(correct, confidence)
    assert dict(zip(curve.x, curve.y, strict=True)) == pytest.approx(expected)
