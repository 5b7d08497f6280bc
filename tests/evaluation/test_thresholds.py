"""Thresholds against a search over all of them, and the demands that none meets."""

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from keyfold.errors import DataError
from keyfold.evaluation.thresholds import choose_threshold, choose_thresholds

rows = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 1.0]) | st.floats(0, 1)), min_size=2, max_size=25
)
scores = {
    "f1": lambda y, hat: oracle.f1_score(y, hat, zero_division=0),
    "f_beta": lambda y, hat: oracle.fbeta_score(y, hat, beta=2.0, zero_division=0),
    "balanced_accuracy": oracle.balanced_accuracy_score,
    "cost": lambda y, hat: -(5 * np.sum(hat & ~y) + 80 * np.sum(y & ~hat)) / len(y),
}
rules = {name: {"maximise": name} for name in ("f1", "balanced_accuracy")} | {
    "f_beta": {"maximise": "f_beta", "beta": 2.0},
    "cost": {"cost": {"false_positive": 5, "false_negative": 80}},
}


def candidates(p):
    return sorted({*p, np.nextafter(max(p), np.inf)}, reverse=True)


@pytest.mark.parametrize("name", rules)
@given(rows=rows)
@example(
    rows=[(True, 0.0), *[(True, 0.7)] * 3, (False, 0.69), (False, 0.85), (True, 0.86), (True, 1.0)]
)  # equal but for rounding
@settings(max_examples=60, deadline=None)
def test_the_best_of_all_thresholds_is_chosen_and_the_highest_of_equals(name, rows):
    y, p = map(np.array, zip(*rows, strict=True))
    assume(y.any() and not y.all())
    of = {threshold: scores[name](y, p >= threshold) for threshold in candidates(p)}
    chosen = choose_threshold(y, p, rules[name])
    assert of[chosen.threshold] == pytest.approx(max(of.values()))
    assert all(score < of[chosen.threshold] + 1e-12 for score in of.values())
    assert all(score < of[chosen.threshold] - 1e-15 for threshold, score in of.items() if threshold > chosen.threshold)
    curve = chosen.curves[name]
    assert dict(zip(curve.x, curve.y, strict=True)) == pytest.approx(
        {threshold: -score if name == "cost" else score for threshold, score in of.items()}
    )


@pytest.mark.parametrize("demanded", ["precision", "recall"])
@given(rows=rows, least=st.sampled_from([0.25, 0.5, 0.6, 0.75, 0.9, 1.0]))
@settings(max_examples=100, deadline=None)
def test_a_demand_is_met_with_the_best_of_the_other(demanded, rows, least):
    y, p = map(np.array, zip(*rows, strict=True))
    assume(y.any() and not y.all())
    of = {}
    for t in candidates(p):
        hit, predicted = np.sum(y & (p >= t)), np.sum(p >= t)
        precision, recall = hit / predicted if predicted else -1.0, hit / y.sum()
        of[t] = (precision, recall) if demanded == "precision" else (recall, precision)
    met = {t: pair[::-1] for t, pair in of.items() if pair[0] >= least}
    if met:
        threshold = choose_threshold(y, p, {f"{demanded}_at_least": least}).threshold
        assert met[threshold] == max(met.values())
    else:
        with pytest.raises(DataError, match=f"label.threshold.{demanded}_at_least: no threshold has a {demanded} of {least:g}"):
            choose_threshold(y, p, {f"{demanded}_at_least": least})


def test_an_unreachable_precision_says_the_best_and_where():
    y, p = np.array([0, 1, 1, 0, 0, 0]), np.array([0.9, 0.8, 0.8, 0.3, 0.2, 0.1])
    with pytest.raises(
        DataError, match=r"a precision of 0.9 on the validation fold; the best is 0.6666, at 0.8, with a recall of 1;"
    ):
        choose_threshold(y, p, {"precision_at_least": 0.9})
    assert choose_threshold(y, p, {"precision_at_least": 0.6666}).threshold == 0.8


def test_where_false_positives_are_dear_no_row_is_predicted():
    y, p = np.array([0, 1, 1, 0]), np.array([0.9, 0.8, 0.7, 0.3])
    assert choose_threshold(y, p, {"cost": {"false_positive": 100, "false_negative": 1}}).threshold > 0.9


@pytest.mark.parametrize(("y", "words"), [([True, True], "every row"), ([False, False], "no row"), ([], "no row")])
def test_a_class_without_rows_is_refused(y, words):
    with pytest.raises(DataError, match=f"label.threshold: {words} of the validation fold is of the positive class"):
        choose_threshold(np.array(y, bool), np.linspace(0, 1, len(y)), {"maximise": "f1"})


def test_each_label_has_its_own_threshold_and_its_name_in_the_error():
    rng = np.random.default_rng(0)
    p = rng.random((300, 3))
    y = rng.random((300, 3)) < p**3
    y[:, 2] = False
    chosen = choose_thresholds(y, p, {"maximise": "f1"}, "abc")
    assert [one.threshold for one in chosen[:2]] == [
        choose_threshold(y[:, k], p[:, k], {"maximise": "f1"}).threshold for k in (0, 1)
    ]
    assert chosen[2] == (0.5, {})
    with pytest.raises(DataError, match="on label `a` of the validation fold; the best is"):
        choose_thresholds(y * (p < 0.99) > 0, p, {"precision_at_least": 0.999}, "abc")


def test_a_long_curve_is_thinned_and_keeps_the_chosen_point():
    p = np.random.default_rng(0).random(5000)
    y = np.random.default_rng(1).random(5000) < p
    chosen = choose_threshold(y, p, {"recall_at_least": 0.8})
    for curve in chosen.curves.values():
        assert len(curve.x) <= 200
        assert chosen.threshold in curve.x
        assert (np.diff(curve.x) > 0).all()
