"""Intervals of predicted numbers: their coverage, and the smallest number of rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.errors import DataError
from keyfold.evaluation.conformal import central_share, conformal_half_width
from keyfold.labels import Bands


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
