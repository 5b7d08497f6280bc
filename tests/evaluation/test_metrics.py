"""Metrics and their intervals against scikit-learn, and laws that they keep."""

import math
from functools import partial

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import (
    LOSS,
    MAIN,
    METRICS,
    main_metric,
    measure_predictions,
    metric_differences,
    metric_heading,
    names_for,
    names_of,
)
from keyfold.labels import Bands, Binary, Classes, Multilabel, Number

BINARY, NUMBER = Binary("boolean", positive=True, negative=False), Number("double")
classification_metrics, regression_metrics = (partial(measure_predictions, label) for label in (BINARY, NUMBER))

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
    by_rows = values(classification_metrics(y.repeat(times), p.repeat(times), replicates=0))
    del by_weight["calibration_error"], by_rows["calibration_error"]  # whose bins have equal numbers of rows
    assert by_weight == pytest.approx(by_rows, rel=1e-12)


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
    assert str(one) == str(measure(y[shuffled], p[shuffled], weight=weight[shuffled], order=order[shuffled]))


def test_draws_follow_the_seed_and_the_row(sample):
    y, p, order = sample
    assert classification_metrics(y, p, seed=1) != classification_metrics(y, p, seed=2)
    assert classification_metrics(y, p, order=order) != classification_metrics(y, p, order=order[::-1])


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(5)
    p = rng.beta(1, 2, 200_000)
    truth = classification_metrics(rng.random(200_000) < p, p, replicates=0)
    covered = dict.fromkeys(("roc_auc", "brier", "f1"), 0)
    for _ in range(100):
        part = rng.choice(p, 400)
        result = classification_metrics(rng.random(400) < part, part)
        for name in covered:
            covered[name] += result[name].low <= truth[name].value <= result[name].high
    assert all(88 <= n <= 99 for n in covered.values()), covered


@pytest.mark.parametrize("label", [BINARY, NUMBER])
def test_a_difference_is_of_both_values_and_of_no_order_of_rows(sample, label):
    y, p, order = sample
    worse, measure = p.clip(0.01, 0.99).round(1) * 0.9 + 0.05, partial(measure_predictions, label)
    result = metric_differences(label, y, p, worse, order=order)
    one, other = measure(y, p, order=order), measure(y, worse, order=order)
    assert values(result) == {name: one[name].value - other[name].value for name in one}
    assert str(metric_differences(label, y[::-1], p[::-1], worse[::-1], order=order[::-1])) == str(result)
    same = metric_differences(label, y, p, p)
    assert same.pop("calibration_error", (0,))[0] == 0
    assert set(same.values()) == {Metric(0, 0, 0)}
    for name, (_, low, high) in result.items():
        if name == "calibration_error":  # which has no interval
            continue
        assert high - low < one[name].high - one[name].low, name


def test_intervals_of_a_difference_cover_the_truth():
    rng = np.random.default_rng(6)
    p = rng.beta(1, 2, 400_000)
    noisy = 1 / (1 + np.exp(-np.log(p / (1 - p)) - rng.normal(0, 0.7, len(p))))
    truth = metric_differences(BINARY, rng.random(len(p)) < p, p, noisy, replicates=0)
    covered = dict.fromkeys(("roc_auc", "log_loss"), 0)
    for _ in range(100):
        part = rng.integers(0, len(p), 500)
        result = metric_differences(BINARY, rng.random(500) < p[part], p[part], noisy[part])
        for name in covered:
            covered[name] += result[name].low <= truth[name].value <= result[name].high
    assert all(88 <= n <= 99 for n in covered.values()), covered


def test_a_difference_of_other_lengths_or_of_no_probability_is_refused():
    with pytest.raises(ValueError, match="predictions must be one finite number per row, 2 rows in all"):
        metric_differences(BINARY, [0, 1], [0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="from 0 to 1"):
        metric_differences(BINARY, [0, 1], [0.1, 0.2], [0.1, 1.2])


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
        ({"y": [0, 1], "predicted": [0.1, math.nan]}, "predictions must be one finite number per row"),
        ({"y": [0, 1], "predicted": [0.1]}, "2 rows in all"),
        ({"y": [0, 1], "predicted": [0.1, 0.2], "weight": [1, -1]}, "weight .* 0 or more"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(**arguments)


CLASSES = Classes("string", classes=("a", "b", "c", "d"))
BANDS = Bands("double", edges=(1.0, 2.0, 4.0), lowest=0.0, highest=8.0, values=(0.4, 1.5, 3.1, 6.0), interval=0.8)
LABELS = Multilabel("string", labels=("a", "b", "c", "d"), thresholds=(0.5, 0.3, 0.5, 0.5))
WITH_INTERVAL = Number("double", interval=0.9, error=0.3)


def rows_of(label, n=400):
    """Labels of n rows, good predictions and bad ones."""
    rng = np.random.default_rng(8)
    if label.kind in ("number", "binary"):
        p = rng.random(n)
        return (rng.random(n) < p if label.kind == "binary" else p + rng.normal(0, 0.1, n)), p, 1 - p
    p = rng.dirichlet(np.full(4, 0.3), n)
    codes = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    if label.kind == "labels":
        return np.random.default_rng(9).random((n, 4)) < p, p, 1 - p
    y = np.array([0.0, *label.edges])[codes] + rng.random(n) if label.kind == "bands" else codes
    return y, p, p[:, ::-1]


ALL = {"binary": BINARY, "classes": CLASSES, "bands": BANDS, "labels": LABELS, "number": NUMBER, "interval": WITH_INTERVAL}
every_label = pytest.mark.parametrize("label", ALL.values(), ids=ALL)


@every_label
def test_measured_metrics_are_those_of_the_table(label):
    y, p, _ = rows_of(label)
    measured = list(measure_predictions(label, y, p, replicates=0))
    assert measured == names_of(label)
    assert main_metric(measured) == MAIN[label.kind]
    assert {MAIN[label.kind], LOSS[label.kind]} <= set(measured)
    without = (
        {"interval_coverage", "interval_width", "pinball_loss"}
        if label is NUMBER
        else {"coverage", "answered_accuracy", "answered_neutral"}
    )
    assert measured == [name for name in names_for(label.kind) if name not in without]


def test_each_metric_is_of_a_kind_of_label():
    assert {kind for metric in METRICS.values() for kind in metric.kinds} == MAIN.keys() == LOSS.keys()
    assert main_metric([]) == "r2"
    assert main_metric(["rmse", "a metric of a later version"]) == "r2"


@every_label
def test_arrows_lead_to_the_better_predictions(label):
    y, good, bad = rows_of(label)
    for name in set(names_of(label)) - {"interval_width", "coverage_error"}:
        of_good, of_bad = (measure_predictions(label, y, p, replicates=0)[name].value for p in (good, bad))
        assert (of_good > of_bad) == METRICS[name].higher_is_better, name
        assert metric_heading(name).endswith("↑" if of_good > of_bad else "↓")


@every_label
def test_row_order_changes_no_bit_of_any_kind(label):
    y, p, _ = rows_of(label)
    order = np.arange(len(y)) // 3
    shuffled = np.random.default_rng(2).permutation(len(y))
    one = measure_predictions(label, y, p, order=order, replicates=9)
    other = measure_predictions(label, y[shuffled], p[shuffled], order=order[shuffled], replicates=9)
    assert str(one) == str(other)


@every_label
def test_weights_and_intervals_of_any_kind(label):
    y, p, bad = rows_of(label)
    times = np.arange(len(y)) % 3
    by_weight = values(measure_predictions(label, y, p, weight=times, replicates=0))
    by_rows = values(measure_predictions(label, y.repeat(times, axis=0), p.repeat(times, axis=0), replicates=0))
    by_weight["calibration_error"] = by_rows["calibration_error"] = 0  # whose bins have equal numbers of rows
    assert by_weight == pytest.approx(by_rows, rel=1e-9)
    for name, metric in measure_predictions(label, y, p, replicates=50).items():
        assert metric.low <= metric.value <= metric.high or name == "calibration_error", name
    difference = metric_differences(label, y, p, bad, replicates=20)
    assert list(difference) == names_of(label)
    main = difference[MAIN[label.kind]]
    assert main.low > 0


@pytest.mark.parametrize("label", [CLASSES, BANDS, LABELS])
def test_one_row_and_no_row_have_metrics(label):
    y, p, _ = rows_of(label)
    assert set(measure_predictions(label, y[:1], p[:1], replicates=2)) == set(names_of(label))
    assert all(math.isnan(metric.value) for metric in measure_predictions(label, y[:0], p[:0], replicates=2).values())


def test_many_rows_and_classes_have_no_interval_of_the_costly_metrics(monkeypatch):
    y, p, bad = rows_of(CLASSES)
    full = measure_predictions(CLASSES, y, p, replicates=10), metric_differences(CLASSES, y, p, bad, replicates=10)
    monkeypatch.setattr("keyfold.evaluation.metrics.COSTLY", p.size - 1)
    monkeypatch.setattr("keyfold.evaluation.row_parts.COSTLY", p.size - 1)
    capped = measure_predictions(CLASSES, y, p, replicates=10), metric_differences(CLASSES, y, p, bad, replicates=10)
    for before, after in zip(full, capped, strict=True):
        assert list(before) == list(after)
        assert str(after.pop("roc_auc_ovr")) == str(Metric(before.pop("roc_auc_ovr").value, math.nan, math.nan))
        assert str(after) == str(before)


def test_each_of_two_models_has_its_own_threshold():
    y, p, _ = rows_of(BINARY)
    low = Binary("boolean", positive=True, negative=False, threshold=0.2)
    difference = metric_differences(BINARY, y, p, p, second_label=low, replicates=0)
    assert difference["roc_auc"].value == 0
    expected = oracle.recall_score(y, p >= 0.5) - oracle.recall_score(y, p >= 0.2)
    assert difference["recall"].value == pytest.approx(expected)
    assert "interval_width" not in metric_differences(WITH_INTERVAL, y, p, p, second_label=NUMBER, replicates=0)


@pytest.mark.parametrize(
    ("label", "y", "predicted", "message"),
    [
        (CLASSES, [4], np.full((1, 4), 0.25), "codes from 0 to 3, or -1"),
        (CLASSES, [0.5], np.full((1, 4), 0.25), "codes from 0 to 3, or -1"),
        (CLASSES, [0], np.full((1, 3), 0.25), "predictions must be 4 finite numbers per row, 1 rows in all"),
        (BANDS, [math.nan], np.full((1, 4), 0.25), "y must be one finite number per row"),
        (LABELS, [[True]], np.full((1, 4), 0.25), "y must be 4 finite numbers per row"),
        (LABELS, np.ones((1, 4), bool), np.full((1, 4), 1.25), "from 0 to 1"),
    ],
)
def test_bad_input_of_any_kind_is_refused(label, y, predicted, message):
    with pytest.raises(ValueError, match=message):
        measure_predictions(label, y, predicted)
