"""Two models on the same rows: values as each alone has them, and paired differences."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from keyfold.evaluation.metrics import METRICS, measure_predictions, metric_differences
from keyfold.evaluation.paired import compare_predictions, mean_over_rate, recall_at_precision
from keyfold.labels import Binary

LABEL = Binary("boolean", True, False)
RNG = np.random.default_rng(0)
N = 3_000
TRUTH = RNG.beta(1, 8, N)
Y = RNG.random(N) < TRUTH
FIRST, SECOND = TRUTH, np.clip(TRUTH + RNG.normal(0, 0.1, N), 0, 1).round(3)
ORDER = RNG.permutation(N)


def measured(weightless, p, y=Y):
    return compare_predictions(LABEL, y, p, p, {"m": weightless}, order=ORDER[: len(y)], replicates=5).first["m"]


def test_values_and_differences_are_those_of_the_metrics():
    names = ["roc_auc", "brier"]
    pair = compare_predictions(LABEL, Y, FIRST, SECOND, {name: METRICS[name].measure for name in names}, order=ORDER)
    alone, differences = (
        measure_predictions(LABEL, Y, FIRST, order=ORDER),
        metric_differences(LABEL, Y, FIRST, SECOND, order=ORDER),
    )
    for name in names:
        assert tuple(pair.first[name]) == tuple(alone[name])
        assert tuple(pair.difference[name]) == tuple(differences[name])
        assert pair.difference[name].high - pair.difference[name].low < alone[name].high - alone[name].low


def test_the_order_of_rows_does_not_matter():
    turned = RNG.permutation(N)
    measures = {"brier": METRICS["brier"].measure}
    one, other = (
        compare_predictions(LABEL, Y[by], FIRST[by], SECOND[by], measures, order=ORDER[by], replicates=20)
        for by in (np.arange(N), turned)
    )
    assert one == other


@pytest.mark.parametrize("precision", [0.2, 0.4, 0.6, 1.0])
def test_recall_at_a_precision_is_that_of_the_best_threshold(precision):
    found, recall, _ = precision_recall_curve(Y, SECOND)
    best = recall[:-1][found[:-1] >= precision].max(initial=0)
    assert measured(recall_at_precision(precision), SECOND).value == pytest.approx(best)


def test_recall_is_0_if_no_threshold_has_the_precision_and_undefined_without_positives():
    y = np.array([False, True])
    assert measured(recall_at_precision(0.9), np.array([0.9, 0.1]), y).value == 0
    assert np.isnan(measured(recall_at_precision(0.9), np.array([0.9, 0.1]), np.array([False, False])).value)


def test_the_mean_probability_over_the_rate():
    assert measured(mean_over_rate, FIRST).value == pytest.approx(FIRST.mean() / Y.mean())
    assert np.isnan(measured(mean_over_rate, FIRST, np.zeros(N, bool)).value)
    assert average_precision_score(Y, FIRST) == pytest.approx(measured(METRICS["pr_auc"].measure, FIRST).value)
