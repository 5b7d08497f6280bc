"""Metrics and their intervals against scikit-learn, and laws that they keep."""

import math
from functools import partial

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import METRICS, measure_predictions, metric_differences, metric_heading, names_for

classification_metrics, regression_metrics = (partial(measure_predictions, classes=classes) for classes in (True, False))

ORACLES = {
    "roc_auc": oracle.roc_auc_score,
    "pr_auc": oracle.average_precision_score,
    "log_loss": oracle.log_loss,
    "brier": oracle.brier_score_loss,
}
chances = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
rows = st.lists(st.tuples(st.booleans(), chances, st.floats(0.1, 10)), min_size=2, max_size=60)


@pytest.fixture
def sample():
    rng = np.random.default_rng(3)
    p = rng.beta(1, 3, 2000).round(2)
    return rng.random(2000) < p, p, rng.integers(-(2**63), 2**63 - 1, 2000)


def values(metrics):
    return {name: metric.value for name, metric in metrics.items()}


@pytest.mark.parametrize("weighted", [False, True])
@given(rows=rows)
@settings(max_examples=150, deadline=None)
def test_equals_sklearn(rows, weighted):
    y, p, weight = map(np.array, zip(*rows, strict=True))
    assume(y.any() and not y.all())
    weight = weight if weighted else None
    result = values(classification_metrics(y, p, weight=weight, replicates=0))
    expected = {
        name: score(y, p, sample_weight=weight, **({"labels": [0, 1]} if name == "log_loss" else {}))
        for name, score in ORACLES.items()
    }
    # Absolute, for Brier scores near 0: scikit-learn rounds 1 - p first.
    assert {name: result[name] for name in ORACLES} == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_equals_sklearn_where_most_probabilities_differ():
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    y = rng.random(100_000) < p**3
    result = values(classification_metrics(y, p, replicates=0))
    assert {n: result[n] for n in ORACLES} == pytest.approx({n: f(y, p) for n, f in ORACLES.items()}, rel=1e-12)


def test_regression_equals_sklearn():
    rng = np.random.default_rng(0)
    y, weight = rng.normal(1e6, 3, 500), rng.random(500)
    guess = y + rng.normal(0, 1, 500)
    result = values(regression_metrics(y, guess, weight=weight))
    assert result == pytest.approx(
        {
            "rmse": oracle.root_mean_squared_error(y, guess, sample_weight=weight),
            "mae": oracle.mean_absolute_error(y, guess, sample_weight=weight),
            "r2": oracle.r2_score(y, guess, sample_weight=weight),
        },
        rel=1e-9,
    )


def test_whole_number_weights_are_repeated_rows(sample):
    y, p, order = sample
    times = order % 4
    by_weight = values(classification_metrics(y, p, weight=times, replicates=0))
    assert by_weight == pytest.approx(values(classification_metrics(y.repeat(times), p.repeat(times), replicates=0)), rel=1e-12)


@given(rows=st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.5, 0.9])), min_size=10, max_size=30))
@settings(deadline=None)
def test_lift_is_the_mean_over_random_orders_of_ties(rows):
    y, p = map(np.array, zip(*rows, strict=True))
    assume(y.any())
    top = len(y) / 10
    # By hand: of each group of equal p, the top decile takes the same share of every row.
    taken, hits = 0.0, 0.0
    for level in (0.9, 0.5, 0.1):
        group = y[p == level]
        share = min(top - taken, len(group)) / max(len(group), 1)
        taken, hits = taken + share * len(group), hits + share * group.sum()
    assert classification_metrics(y, p, replicates=0)["lift_top_decile"].value == pytest.approx(hits / top / y.mean())


def test_lift_of_a_perfect_and_of_a_constant_model():
    y = np.arange(100) < 5
    assert classification_metrics(y, y.astype(float))["lift_top_decile"].value == pytest.approx(10)
    assert classification_metrics(y, np.full(100, 0.3))["lift_top_decile"].value == pytest.approx(1)


@pytest.mark.parametrize("measure", [classification_metrics, regression_metrics])
@pytest.mark.parametrize("weighted", [False, True])
def test_row_order_changes_no_bit(sample, measure, weighted):
    y, p, order = sample
    # Most rows share a hash here: such ties need a rule too.
    p, order = p * (1 - 1e-7 * np.arange(2000)), order // 2**62
    weight = np.random.default_rng(1).random(2000) if weighted else np.ones(2000)
    shuffled = np.random.default_rng(2).permutation(2000)
    one = measure(y, p, weight=weight, order=order)
    assert one == measure(y[shuffled], p[shuffled], weight=weight[shuffled], order=order[shuffled])


def test_draws_follow_the_seed_and_the_row(sample):
    y, p, order = sample
    assert classification_metrics(y, p, seed=1) != classification_metrics(y, p, seed=2)
    assert classification_metrics(y, p, order=order) != classification_metrics(y, p, order=order[::-1])


@pytest.mark.parametrize("name", ["roc_auc", "brier"])
def test_intervals_cover_the_truth(name):
    rng = np.random.default_rng(5)
    p = rng.beta(1, 2, 200_000)
    truth = classification_metrics(rng.random(200_000) < p, p, replicates=0)[name].value
    covered = 0
    for _ in range(200):
        part = rng.choice(p, 400)
        result = classification_metrics(rng.random(400) < part, part)[name]
        covered += result.low <= truth <= result.high
    assert 180 <= covered <= 199


@pytest.mark.parametrize("classes", [True, False])
def test_a_difference_is_of_both_values_and_of_no_order_of_rows(sample, classes):
    y, p, order = sample
    worse, measure = p.clip(0.01, 0.99).round(1) * 0.9 + 0.05, classification_metrics if classes else regression_metrics
    result = metric_differences(y, p, worse, order=order, classes=classes)
    one, other = measure(y, p, order=order), measure(y, worse, order=order)
    assert values(result) == {name: one[name].value - other[name].value for name in one}
    assert metric_differences(y[::-1], p[::-1], worse[::-1], order=order[::-1], classes=classes) == result
    assert set(metric_differences(y, p, p, classes=classes).values()) == {Metric(0, 0, 0)}
    for name, (_, low, high) in result.items():
        assert high - low < one[name].high - one[name].low, name


def test_intervals_of_a_difference_cover_the_truth():
    rng = np.random.default_rng(6)
    p = rng.beta(1, 2, 400_000)
    noisy = 1 / (1 + np.exp(-np.log(p / (1 - p)) - rng.normal(0, 0.7, len(p))))
    truth = metric_differences(rng.random(len(p)) < p, p, noisy, replicates=0)
    covered = dict.fromkeys(("roc_auc", "log_loss"), 0)
    for _ in range(200):
        part = rng.integers(0, len(p), 500)
        result = metric_differences(rng.random(500) < p[part], p[part], noisy[part])
        for name in covered:
            covered[name] += result[name].low <= truth[name].value <= result[name].high
    assert all(180 <= n <= 199 for n in covered.values()), covered


def test_a_difference_of_other_lengths_or_of_no_probability_is_refused():
    with pytest.raises(ValueError, match="predictions of difference must be one finite number per row, 2 in all"):
        metric_differences([0, 1], [0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="from 0 to 1"):
        metric_differences([0, 1], [0.1, 0.2], [0.1, 1.2])


@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_has_no_auc(y):
    result = classification_metrics(y, [0.1, 0.2, 0.3][: len(y)])
    for name in ("roc_auc", "pr_auc"):
        assert all(map(math.isnan, result[name]))
    assert math.isnan(result["brier"].value) == (not y)


def test_rare_positives_still_have_an_interval():
    result = classification_metrics([1, *[0] * 50], np.linspace(1, 0, 51))["roc_auc"]
    assert result == Metric(1, 1, 1)


def test_constant_target_has_no_r2():
    result = regression_metrics([2, 2, 2], [1, 2, 3])
    assert math.isnan(result["r2"].value)
    assert result["mae"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [0, 2], "predicted": [0.1, 0.2]}, "must be booleans"),
        ({"y": [0, 1], "predicted": [0.1, 1.2]}, "from 0 to 1"),
        ({"y": [0, 1], "predicted": [-0.1, 0.2]}, "from 0 to 1"),
        ({"y": [0, 1], "predicted": [0.1, math.nan]}, "predictions .* one finite number per row"),
        ({"y": [0, 1], "predicted": [0.1]}, "2 in all"),
        ({"y": [0, 1], "predicted": [0.1, 0.2], "weight": [1, -1]}, "weight .* 0 or more"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(**arguments)


def test_measured_metrics_are_those_of_the_table(sample):
    y, p, _ = sample
    assert list(classification_metrics(y, p, replicates=0)) == names_for(classes=True)
    assert list(regression_metrics(y, p, replicates=0)) == names_for(classes=False)
    assert [*names_for(classes=True), *names_for(classes=False)] == list(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_arrows_lead_to_the_better_predictions(name, sample):
    y, p, _ = sample
    classes = METRICS[name].classes
    measure = classification_metrics if classes else regression_metrics
    good, bad = (measure(y if classes else p, of, replicates=0)[name].value for of in (p, 1 - p))
    assert (good > bad) == METRICS[name].higher_is_better
    assert metric_heading(name).endswith("↑" if good > bad else "↓")
