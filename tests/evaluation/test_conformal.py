"""Intervals of predicted numbers: their coverage, and the smallest number of rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.errors import DataError
from keyfold.evaluation.conformal import central_share, conformal_half_width, error_sizes, scaled_interval
from keyfold.labels import Bands, Number


@given(errors=st.lists(st.floats(-1e6, 1e6), min_size=19, max_size=60), share=st.sampled_from([0.5, 0.8, 0.9, 0.95]))
@settings(max_examples=40, deadline=None)
def test_the_half_width_is_the_smallest_that_covers_enough_errors(errors, share):
    width = conformal_half_width(errors, np.zeros(len(errors)), share)
    sizes = np.abs(errors)
    assert (sizes <= width).sum() >= share * (len(errors) + 1) - 1e-9
    assert width in sizes
    assert (sizes < width).sum() < share * (len(errors) + 1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("n", [30, 300])
def test_new_rows_are_covered_as_often_as_asked_for(n, scaled):
    rng, share, covered = np.random.default_rng(n), 0.9, []
    for _ in range(400):
        difficulty = rng.uniform(0.1, 10, n + 50)
        error = rng.standard_t(3, n + 50) * difficulty
        scale = difficulty if scaled else np.ones(n + 50)
        width = conformal_half_width(error[:n], np.zeros(n), share, difficulty=scale[:n])
        covered.append(np.mean(abs(error[n:]) <= width * scale[n:]))
    # At least `share`, at most 1 / (n + 1) more: split conformal prediction.
    assert share - 0.008 < np.mean(covered) < share + 1 / (n + 1) + 0.008


def test_a_difficulty_gives_easy_rows_narrow_intervals_of_the_same_coverage():
    rng = np.random.default_rng(1)
    difficulty = rng.choice([0.1, 10], 4000)
    error, hard = rng.normal(0, difficulty), difficulty > 1
    width = conformal_half_width(error[:2000], np.zeros(2000), 0.9, difficulty=difficulty[:2000])
    inside = abs(error[2000:]) <= width * difficulty[2000:]
    assert abs(inside[hard[2000:]].mean() - 0.9) < 0.03
    assert abs(inside[~hard[2000:]].mean() - 0.9) < 0.03


@pytest.mark.parametrize(("share", "least"), [(0.9, 9), (0.95, 19), (0.5, 1), (0.99, 99), (0.7, 3)])
def test_too_few_rows_are_refused_with_the_number_that_is_needed(share, least):
    assert conformal_half_width(np.arange(least), np.zeros(least), share) == least - 1
    with pytest.raises(
        DataError, match=f"covers {share} needs at least {least} labelled rows in the validation fold, which has "
    ):
        conformal_half_width(np.arange(least - 1), np.zeros(least - 1), share)


def test_a_difficulty_of_zero_is_refused():
    with pytest.raises(DataError, match=r"difficulty of each row must be above 0 \(got 0\.0\)"):
        conformal_half_width(np.ones(20), np.zeros(20), 0.9, difficulty=[*np.ones(19), 0])


@pytest.mark.parametrize("n", [30, 2000])
def test_a_share_of_the_distribution_covers_new_rows_as_often_as_asked_for(n):
    rng, covered = np.random.default_rng(n), []
    for _ in range(200 if n < 100 else 10):
        centre = rng.integers(0, 6, n + 200)
        y = np.minimum(centre + rng.normal(2, 2, n + 200), 7)  # a cap
        p = np.exp(-((np.arange(10) - 2 - centre[:, None]) ** 2))  # too sure of itself
        label = Bands("double", tuple(np.arange(-1.0, 8)), -5, 7, tuple(range(10)), cap=1.0)
        p = p / p.sum(axis=1, keepdims=True)
        label = replace(label, held=central_share(label, y[:n], p[:n]))
        low, high = label.bounds(p[n:])
        covered.append(np.mean((low <= y[n:]) & (y[n:] <= high)))
    assert label.held > 0.9
    assert 0.9 - 0.015 < np.mean(covered) < 0.9 + 1 / (n + 1) + 0.03


# --- scaled by the predicted number ---


def drawn_errors(n, seed=0):
    """Numbers whose errors grow with the predicted number, and the predicted ones."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(1, 10, n)
    return predicted + rng.standard_t(4, n) * predicted**2 / 10, predicted


@pytest.mark.parametrize("n", [40, 400])
def test_a_scaled_interval_covers_new_rows_as_often_as_asked_for(n):
    covered = []
    for seed in range(300):
        y, predicted = drawn_errors(n + 100, seed)
        low, high = scaled_interval(Number("double", 0.9), y[:n], predicted[:n]).bounds(predicted[n:])
        covered.append(np.mean((low <= y[n:]) & (y[n:] <= high)))
    # At least the share, at most 1 / (n / 2 + 1) more: half of the rows are taken for the multiple.
    assert 0.9 - 0.01 < np.mean(covered) < 0.9 + 1 / (n / 2 + 1) + 0.01


def test_a_scaled_interval_covers_each_third_of_the_predicted_numbers():
    y, predicted = drawn_errors(40_000)
    label = Number("double", 0.9)
    scaled = scaled_interval(label, y[::2], predicted[::2])
    plain = replace(label, error=conformal_half_width(y[::2], predicted[::2], 0.9))
    third = np.searchsorted(np.quantile(predicted, [1 / 3, 2 / 3]), predicted)[1::2]
    coverage = {}
    for name, of in {"scaled": scaled, "plain": plain}.items():
        low, high = of.bounds(predicted[1::2])
        inside = (low <= y[1::2]) & (y[1::2] <= high)
        coverage[name] = [inside[third == k].mean() for k in range(3)]
    assert coverage["scaled"] == pytest.approx([0.9] * 3, abs=0.025)
    assert coverage["plain"][0] > 0.98 and coverage["plain"][2] < 0.82


@given(seed=st.integers(0, 10_000), n=st.integers(18, 700), ties=st.booleans())
@settings(max_examples=40, deadline=None)
def test_sizes_of_errors_are_above_0_at_ascending_numbers_whatever_the_order_of_the_rows(seed, n, ties):
    rng = np.random.default_rng(seed)
    predicted, error = rng.normal(0, 5, n), np.abs(rng.normal(0, 1, n)) * (rng.random(n) < 0.5)
    predicted = predicted.round() if ties else predicted
    points, sizes = error_sizes(predicted, error, 0.9)
    assert (np.diff(points) > 0).all() and min(sizes) > 0 and len(points) == len(sizes) <= max(1, n // 50)
    turned = rng.permutation(n)
    assert error_sizes(predicted[turned], error[turned], 0.9) == (points, sizes)
    label = Number("double", 0.9, 2.0, points=points, sizes=sizes)
    low, high = label.bounds(predicted)
    assert [label.bounds(predicted[i : i + 1])[1][0] for i in range(n)] == high.tolist(), "a row depends on no other"
    assert ((high - low) / 4 <= max(sizes) * (1 + 1e-9)).all()


def test_rows_without_errors_have_narrow_intervals():
    label = scaled_interval(Number("double", 0.5), np.ones(20), np.ones(20))
    assert label.bounds(np.ones(1)) == (1, 1) and label.points == (1,) and min(label.sizes) > 0


def test_a_scaled_interval_needs_twice_the_rows():
    scaled_interval(Number("double", 0.9), np.arange(18), np.zeros(18))
    with pytest.raises(
        DataError, match=r"scaled interval that covers 0.9 needs at least 18 labelled rows .*, which has 17; give"
    ):
        scaled_interval(Number("double", 0.9), np.arange(17), np.zeros(17))
