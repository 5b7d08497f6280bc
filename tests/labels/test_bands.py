"""Bands of a number: their distribution, its quantiles, its mean and its interval."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyfold.evaluation.by_row import crps
from keyfold.labels import Bands

CAPPED = Bands("double", (100.0, 200.0), 0.0, 500.0, (20.0, 150.0, 400.0), floor=0.5, cap=0.25)


@st.composite
def predicted(draw):
    """Bands, and probabilities of them for a few rows, some of which are 0."""
    ends = np.sort(draw(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=3, max_size=8, unique=True)))
    if draw(st.booleans()):  # the last band is one number
        ends[-1] = ends[-2]
    where = draw(st.lists(st.floats(0, 1), min_size=len(ends) - 1, max_size=len(ends) - 1))
    values = np.clip(ends[:-1] + np.diff(ends) * where, ends[:-1], ends[1:])
    floor, cap = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    p = np.array(draw(st.lists(st.lists(st.floats(0, 1), min_size=len(values), max_size=len(values)), min_size=1, max_size=5)))
    p[:, 0] += p.sum(axis=1) == 0
    take, held = draw(st.sampled_from(["mean", "median"])), draw(st.none() | st.floats(0, 1))
    low, *edges, high = ends.tolist()
    label = Bands("double", tuple(edges), low, high, tuple(values.tolist()), take, 0.9, held, floor, cap)
    return label, p / p.sum(axis=1, keepdims=True)


@given(predicted())
def test_pieces_have_the_probabilities_of_the_bands(drawn):
    label, p = drawn
    ends, pieces = label.pieces(p)
    assert (np.diff(ends) >= 0).all() and (pieces >= 0).all() and len(ends) == pieces.shape[1] + 1
    assert pieces.sum(axis=1) == pytest.approx(np.ones(len(p)))
    assert pieces[:, :2].sum(axis=1) == pytest.approx(p[:, 0]) and pieces[:, -2:].sum(axis=1) == pytest.approx(p[:, -1])


@given(predicted(), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_quantiles_ascend_within_the_outer_edges(drawn, shares):
    label, p = drawn
    quantiles = np.array([label.quantile(p, share) for share in sorted(shares)])
    assert (np.diff(quantiles, axis=0) >= 0).all()
    assert label.lowest <= quantiles.min() and quantiles.max() <= label.highest


@given(predicted())
def test_the_predicted_number_is_in_its_interval(drawn):
    label, p = drawn
    (low, high), point = label.bounds(p), label.point(p)
    assert (label.lowest <= low).all() and (low <= point).all() and (point <= high).all() and (high <= label.highest).all()


def test_numbers_are_in_the_band_of_their_edge():
    assert CAPPED.codes(np.array([-5, 99.9, 100, 199, 200, 900])).tolist() == [0, 0, 1, 1, 2, 2]
    assert CAPPED.names == ["< 100", "100 – 200", "≥ 200"]


def test_a_quantile_is_the_cap_or_the_floor_as_often_as_the_train_fold_was():
    p = np.array([[0.4, 0.0, 0.6]])  # of which 0.2 are at 0, and 0.15 at 500
    found = [CAPPED.quantile(p, share)[0] for share in (0.1, 0.2, 0.3, 0.4, 0.625, 0.85, 0.9, 1)]
    assert found == pytest.approx([0, 0, 50, 100, 350, 500, 500, 500])
    even = replace(CAPPED, floor=0.0, cap=0.0)
    assert [even.quantile(p, share)[0] for share in (0.1, 0.9)] == pytest.approx([25, 450])


def test_the_interval_is_the_held_share_of_the_distribution():
    p = np.array([[0.25, 0.5, 0.25]])
    label = replace(CAPPED, floor=0.0, cap=0.0, interval=0.5, take="median")
    assert np.hstack(label.bounds(p)).tolist() == [100, 200]
    assert np.hstack(replace(label, held=0.25).bounds(p)).tolist() == [125, 175]


@given(predicted(), st.floats(-2e6, 2e6))
def test_the_score_of_a_distribution_is_the_integral_of_its_definition(drawn, y):
    label, p = drawn
    ends, pieces = label.pieces(p)
    assume(np.diff(label.edges).min(initial=1) > 1e-200)  # a quotient by less is infinite
    corners = np.unique([*ends, y])  # between them the function under the integral is a parabola
    grid = np.unique(np.concatenate([np.linspace(*corner, 2_001) for corner in pairwise(corners)]))
    middle, total = (grid[1:] + grid[:-1]) / 2, np.hstack([np.zeros((len(p), 1)), np.cumsum(pieces, axis=1)])
    width = np.diff(ends)
    part = np.clip((middle[:, None] - ends[:-1]) / np.where(width > 0, width, 1), 0, 1)
    part = np.where(width > 0, part, middle[:, None] > ends[:-1])
    distribution = total[:, :1] + pieces @ part.T
    expected = ((distribution - (middle >= y)) ** 2 * np.diff(grid)).sum(axis=1)
    assert crps(ends, np.full(len(p), y), pieces) == pytest.approx(expected, rel=1e-3, abs=1e-6 * (ends[-1] - ends[0]) + 1e-9)
