"""Metrics of classes, bands and labels against scikit-learn on the same arrays."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from keyfold.evaluation import by_row
from keyfold.evaluation.metrics import measure_predictions
from keyfold.labels import Bands, Binary, Classes, Multilabel, Number

K = 5
CLASSES = Classes("string", classes=tuple("abcde"))
LABELS = Multilabel("string", labels=tuple("abcde"), thresholds=(0.5, 0.2, 0.5, 0.7, 0.9))
BANDS = Bands("double", edges=(1.0, 2.0, 4.0, 5.5), lowest=-1.0, highest=9.0, values=(0.4, 1.5, 3.1, 5.0, 7.0), interval=0.8)
SEEDS = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 40))


@pytest.fixture(autouse=True)
def _undefined_metrics_do_not_warn():
    with warnings.catch_warnings(action="ignore"):
        yield


def measured(label, y, p, weight):
    return {name: metric.value for name, metric in measure_predictions(label, y, p, weight=weight, replicates=0).items()}


def class_oracles(y, p, hat, weight):
    weighted = {"sample_weight": weight}
    truth = np.array([list(p[i]) for i in range(len(y))])
    aucs = [
        oracle.roc_auc_score(y == code, p[:, code], **weighted) for code in range(p.shape[1]) if 0 < (y == code).sum() < len(y)
    ]
    of_truth = np.where(y >= 0, truth[np.arange(len(y)), y], 0)
    eps = np.finfo(float).eps
    return {
        "accuracy": oracle.accuracy_score(y, hat, **weighted),
        "balanced_accuracy": oracle.balanced_accuracy_score(y, hat, **weighted),
        "macro_f1": oracle.f1_score(y, hat, average="macro", **weighted),
        "micro_f1": oracle.f1_score(y, hat, average="micro", **weighted),
        "log_loss": np.average(-np.log(np.clip(of_truth, eps, 1 - eps)), weights=weight),
        "roc_auc_ovr": np.mean(aucs) if aucs else np.nan,
    }


@given(seed=SEEDS, unknown=st.booleans())
@settings(max_examples=60, deadline=None)
def test_classes_equal_scikit_learn(seed, unknown):
    rng, n = np.random.default_rng(seed[0]), seed[1]
    p = rng.dirichlet(np.full(K, 0.3), n)
    y, weight = rng.integers(-1 if unknown else 0, rng.integers(1, K + 1), n), rng.uniform(0.1, 3, n)
    expected = class_oracles(y, p, p.argmax(axis=1), weight)
    if (y >= 0).all():
        assert expected["log_loss"] == pytest.approx(oracle.log_loss(y, p, labels=range(K), sample_weight=weight))
        expected["top_3_accuracy"] = oracle.top_k_accuracy_score(y, p, k=3, labels=range(K), sample_weight=weight)
    result = measured(CLASSES, y, p, weight)
    assert {name: result[name] for name in expected} == pytest.approx(expected, nan_ok=True, rel=1e-9)


def test_the_mean_auc_is_that_of_scikit_learn_where_all_classes_have_rows():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(K), 500)
    y = (p.cumsum(axis=1) > rng.random((500, 1))).argmax(axis=1)
    expected = oracle.roc_auc_score(y, p, multi_class="ovr", average="macro")
    assert measured(CLASSES, y, p, None)["roc_auc_ovr"] == pytest.approx(expected)


def test_of_equal_probabilities_the_first_are_the_top_three():
    p = np.full((5, K), 0.2)
    assert measured(CLASSES, np.arange(5), p, None)["top_3_accuracy"] == pytest.approx(3 / 5)
    assert measured(CLASSES, [-1] * 5, p, None)["top_3_accuracy"] == 0


@given(seed=SEEDS, rate=st.sampled_from([0.0, 0.2, 0.6, 1.0]), decimals=st.sampled_from([1, 15]))
@settings(max_examples=80, deadline=None)
def test_labels_equal_scikit_learn(seed, rate, decimals):
    rng, n = np.random.default_rng(seed[0]), seed[1]
    p = rng.random((n, K)).round(decimals)
    y, weight = rng.random((n, K)) < rate, rng.uniform(0.1, 3, n)
    hat, weighted = p >= np.array(LABELS.thresholds), {"sample_weight": weight}
    expected = {
        "macro_f1": oracle.f1_score(y, hat, average="macro", zero_division=np.nan, **weighted),
        "micro_f1": oracle.f1_score(y, hat, average="micro", zero_division=np.nan, **weighted),
        "sample_f1": oracle.f1_score(y, hat, average="samples", zero_division=1.0, **weighted),
        "hamming_loss": oracle.hamming_loss(y, hat, **weighted),
        "exact_match": oracle.accuracy_score(y, hat, **weighted),
        "ranking_precision": oracle.label_ranking_average_precision_score(y, p, **weighted),
        "coverage_error": oracle.coverage_error(y, p, **weighted),
        "log_loss": np.mean([oracle.log_loss(y[:, k], p[:, k], labels=[0, 1], **weighted) for k in range(K)]),
    }
    assert measured(LABELS, y, p, weight) == pytest.approx(expected, nan_ok=True, rel=1e-9)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_bands_equal_scikit_learn(seed):
    rng, n = np.random.default_rng(seed[0]), seed[1]
    p, y, weight = rng.dirichlet(np.full(K, 0.5), n), rng.uniform(-2, 10, n), rng.uniform(0.1, 3, n)
    point, (low, high), weighted = BANDS.point(p), BANDS.bounds(p), {"sample_weight": weight}
    expected = class_oracles(BANDS.codes(y), p, p.argmax(axis=1), weight) | {
        "rmse": oracle.root_mean_squared_error(y, point, **weighted),
        "mae": oracle.mean_absolute_error(y, point, **weighted),
        "r2": oracle.r2_score(y, point, **weighted) if n > 1 else np.nan,
        "interval_coverage": np.average((low <= y) & (y <= high), weights=weight),
        "interval_width": np.average(high - low, weights=weight),
        "pinball_loss": np.mean([oracle.mean_pinball_loss(y, q, alpha=a, **weighted) for q, a in ((low, 0.1), (high, 0.9))]),
    }
    result = measured(BANDS, y, p, weight)
    assert {name: result[name] for name in expected} == pytest.approx(expected, nan_ok=True, rel=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_crps_is_the_integral_by_its_definition(seed):
    rng = np.random.default_rng(seed)
    p, y = rng.dirichlet(np.full(K, 0.5), 1), rng.uniform(-3, 12, 1)
    ends = np.array([BANDS.lowest, *BANDS.edges, BANDS.highest])

    def squared_distance(x):
        return (np.interp(x, ends, np.append(0, p.cumsum())) - (x >= y[0])) ** 2

    expected, _ = integrate.quad(squared_distance, -4, 13, points=[*ends, y[0]], limit=200)
    assert by_row.crps(ends, y, p)[0] == pytest.approx(expected, rel=1e-6)


def test_the_crps_of_a_narrow_distribution_is_the_absolute_error():
    label = Bands("double", edges=(2.0, 2.001), lowest=0.0, highest=4.0, values=(1.0, 2.0005, 3.0))
    assert measured(label, [-1.0, 2.0, 3.5, 6.0], np.tile([0.0, 1.0, 0.0], (4, 1)), None)["crps"] == pytest.approx(
        (3 + 0 + 1.5 + 4) / 4, abs=1e-3
    )


@given(seed=SEEDS, threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_two_classes_at_a_threshold_equal_scikit_learn(seed, threshold):
    rng, n = np.random.default_rng(seed[0]), seed[1]
    p, weight = rng.random(n).round(1), rng.uniform(0.1, 3, n)
    y = rng.random(n) < p
    hat, weighted = p >= threshold, {"sample_weight": weight}
    expected = {
        "accuracy": oracle.accuracy_score(y, hat, **weighted),
        "balanced_accuracy": oracle.balanced_accuracy_score(y, hat, **weighted),
        "precision": oracle.precision_score(y, hat, zero_division=np.nan, **weighted),
        "recall": oracle.recall_score(y, hat, zero_division=np.nan, **weighted),
        "f1": oracle.f1_score(y, hat, zero_division=np.nan, **weighted),
    }
    result = measured(Binary("boolean", threshold=threshold), y, p, weight)
    assert {name: result[name] for name in expected} == pytest.approx(expected, nan_ok=True, rel=1e-9)


def test_numbers_with_an_interval_equal_scikit_learn():
    rng = np.random.default_rng(0)
    y, weight = rng.normal(size=300), rng.random(300)
    guess = y + rng.normal(0, 0.5, 300)
    result = measured(Number("double", interval=0.8, error=0.6), y, guess, weight)
    expected = [oracle.mean_pinball_loss(y, guess + s, alpha=a, sample_weight=weight) for s, a in ((-0.6, 0.1), (0.6, 0.9))]
    assert result["pinball_loss"] == pytest.approx(np.mean(expected))
    assert result["interval_coverage"] == pytest.approx(np.average(abs(y - guess) <= 0.6, weights=weight))
    assert result["interval_width"] == pytest.approx(1.2)


def test_the_calibration_error_is_the_mean_distance_of_the_bins():
    y, p = np.array([0, 1, 1, 1] * 25), np.array([0.5] * 100)
    assert measured(Binary("boolean"), y, p, None)["calibration_error"] == pytest.approx(0.25)
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    calibrated = rng.random(20_000) < p
    assert measured(Binary("boolean"), calibrated, p, None)["calibration_error"] < 0.012
    assert measured(Binary("boolean"), calibrated, p**2, None)["calibration_error"] == pytest.approx(1 / 6, abs=0.01)
    classes = rng.dirichlet(np.ones(K), 20_000)
    codes = (classes.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert measured(CLASSES, codes, classes, None)["calibration_error"] < 0.015


def test_rows_in_blocks_have_the_same_bits(monkeypatch):
    rng = np.random.default_rng(0)
    p, y = rng.random((100, K)).round(1), rng.random((100, K)) < 0.4
    whole = by_row.by_blocks(by_row.ranking_precision, y, p)
    monkeypatch.setattr(by_row, "_BLOCK", 7 * K)
    assert np.array_equal(by_row.by_blocks(by_row.ranking_precision, y, p), whole)
