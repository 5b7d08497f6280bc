"""Two models on the same rows: values as each alone has them, paired differences and ratios; numbers and bands of numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from keyfold.evaluation.by_row import gaussian_crps
from keyfold.evaluation.metrics import METRICS, measure_predictions, metric_differences
from keyfold.evaluation.paired import Predicted, compare_predictions, mean_over_rate, number_measures, recall_at_precision
from keyfold.labels import Bands, Binary, Number

LABEL = Binary("boolean", True, False)
RNG = np.random.default_rng(0)
N = 3_000
TRUTH = RNG.beta(1, 8, N)
Y = RNG.random(N) < TRUTH
FIRST, SECOND = TRUTH, np.clip(TRUTH + RNG.normal(0, 0.1, N), 0, 1).round(3)
ORDER = RNG.permutation(N)


def measured(weightless, p, y=Y):
    return compare(p, p, {"m": weightless}, y=y, order=ORDER[: len(y)], replicates=5).first["m"]


def compare(first, second, measures, y=Y, order=ORDER, **options):
    return compare_predictions(y, Predicted(LABEL, first), Predicted(LABEL, second), lambda _: measures, order=order, **options)


def test_values_and_differences_are_those_of_the_metrics():
    names = ["roc_auc", "brier"]
    pair = compare(FIRST, SECOND, {name: METRICS[name].measure for name in names}, ratios=["brier"])
    alone, differences = (
        measure_predictions(LABEL, Y, FIRST, order=ORDER),
        metric_differences(LABEL, Y, FIRST, SECOND, order=ORDER),
    )
    for name in names:
        assert tuple(pair.first[name]) == tuple(alone[name])
        assert tuple(pair.difference[name]) == tuple(differences[name])
        assert (name == "brier") is (name in pair.ratio)
        assert pair.difference[name].high - pair.difference[name].low < alone[name].high - alone[name].low


def test_the_order_of_rows_does_not_matter():
    turned = RNG.permutation(N)
    measures = {"brier": METRICS["brier"].measure}
    one, other = (
        compare(FIRST[by], SECOND[by], measures, y=Y[by], order=ORDER[by], replicates=20) for by in (np.arange(N), turned)
    )
    assert one == other


def test_a_ratio_is_that_of_both_values_on_the_same_draws():
    measures = {"brier": METRICS["brier"].measure}
    pair, back = (compare(*both, measures, ratios=["brier"]) for both in ((FIRST, SECOND), (SECOND, FIRST)))
    ratio, inverse = pair.ratio["brier"], back.ratio["brier"]
    assert ratio.value == pytest.approx(pair.first["brier"].value / back.first["brier"].value)
    assert ratio.low < ratio.value < ratio.high < 1
    assert tuple(ratio) == pytest.approx((1 / inverse.value, 1 / inverse.high, 1 / inverse.low), rel=1e-4)
    same = compare(FIRST, FIRST, measures, ratios=["brier"]).ratio["brier"]
    assert tuple(same) == (1, 1, 1)


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


# --- numbers, and bands of numbers ---

BANDS = Bands("double", (10.0, 20.0, 30.0), 0.0, 40.0, (5.0, 15.0, 25.0, 35.0), held=0.8)
DRAW = np.random.default_rng(3)
P = DRAW.dirichlet(np.ones(4), 900)
PRICE = np.array([DRAW.uniform(10 * band, 10 * band + 10) for band in (P.cumsum(axis=1) < DRAW.random((900, 1))).sum(axis=1)])
POINT = np.round(BANDS.point(P) + DRAW.normal(0, 2, 900), 3)


def compare_numbers(first, second):
    return compare_predictions(PRICE, first, second, number_measures, order=np.arange(900), ratios=["rmse"], replicates=20)


def test_bands_are_compared_with_a_number_by_what_both_have():
    number = Number("double", 0.9, 15.0)
    of_bands, of_number = Predicted(BANDS, P), Predicted(number, POINT, 9.0)
    pair = compare_numbers(of_number, of_bands)
    alone = (
        measure_predictions(number, PRICE, POINT, order=np.arange(900)),
        measure_predictions(BANDS, PRICE, P, order=np.arange(900)),
    )
    for name in ("rmse", "mae", "r2", "interval_coverage", "interval_width", "pinball_loss"):
        assert pair.first[name].value == alone[0][name].value
        assert pair.difference[name].value == pytest.approx(alone[0][name].value - alone[1][name].value)
    assert pair.ratio["rmse"].value == pytest.approx(alone[0]["rmse"].value / alone[1]["rmse"].value)
    assert pair.first["crps"].value == pytest.approx(gaussian_crps(PRICE, POINT, 9.0).mean())
    assert pair.difference["crps"].value == pytest.approx(pair.first["crps"].value - alone[1]["crps"].value)
    assert compare_numbers(of_bands, of_number).first["crps"].value == alone[1]["crps"].value


def test_what_only_one_of_both_has_has_no_difference():
    pair = compare_numbers(Predicted(Number("double"), POINT), Predicted(BANDS, P))
    assert {*pair.first} == {*pair.difference} == {"rmse", "mae", "r2"}
    assert {*compare_numbers(Predicted(BANDS, P), Predicted(Number("double"), POINT)).difference} == {"rmse", "mae", "r2"}


def test_the_coverage_is_that_of_each_third_of_the_predicted_numbers():
    first = compare_numbers(Predicted(BANDS, P), Predicted(BANDS, P)).first
    point, (low, high) = BANDS.point(P), BANDS.bounds(P)
    inside = (low <= PRICE) & (high >= PRICE)
    for third, name in zip(np.array_split(np.argsort(point), 3), ("lowest", "middle", "highest"), strict=True):
        assert first[f"coverage_{name}_third"].value == pytest.approx(inside[third].mean(), abs=1e-9)


def test_numbers_in_the_same_rows_in_another_order_are_compared_alike():
    """Also where several rows have the same place in the order: both predictions of a row stay together."""
    turned, order = DRAW.permutation(900), np.arange(900) // 7
    one, other = (
        compare_predictions(
            PRICE[by], Predicted(BANDS, P[by]), Predicted(Number("double"), POINT[by]), number_measures, order=order[by]
        )
        for by in (np.arange(900), turned)
    )
    assert one == other


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.01, 20))
@settings(max_examples=60, deadline=None)
def test_the_crps_of_a_gaussian_is_the_integral_by_its_definition(y, mean, deviation):
    from scipy.integrate import quad
    from scipy.stats import norm

    of = norm(mean, deviation)
    below = quad(lambda x: of.cdf(x) ** 2, min(y, mean) - 12 * deviation, y, epsabs=1e-10, limit=200)[0]
    above = quad(lambda x: of.sf(x) ** 2, y, max(y, mean) + 12 * deviation, epsabs=1e-10, limit=200)[0]
    (score,) = gaussian_crps(np.array([y]), np.array([mean]), deviation)
    assert score == pytest.approx(below + above, rel=1e-5, abs=1e-7)


def test_the_crps_of_a_gaussian_without_spread_is_the_absolute_error():
    assert gaussian_crps(PRICE, POINT, 0.0) == pytest.approx(abs(PRICE - POINT))
    assert gaussian_crps(PRICE, POINT, 1e-9) == pytest.approx(abs(PRICE - POINT), abs=1e-8)


def test_labels_are_checked_each_by_its_own_width():
    with pytest.raises(ValueError, match="4 finite numbers per row"):
        compare_numbers(Predicted(Number("double"), POINT), Predicted(BANDS, POINT))
