"""Probabilities are corrected from the shares of the classes in training to the true ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.models.prior import PriorCorrection

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=20)
FACTORS = st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))


@given(PROBABILITIES, FACTORS)
def test_the_odds_change_by_the_quotient_of_the_factors(numbers, factors):
    p = np.array(numbers)
    corrected = PriorCorrection(factors).corrected(p)
    assert ((corrected >= 0) & (corrected <= 1)).all()
    inner = (p > 1e-6) & (p < 1 - 1e-6)
    w = factors[1] / factors[0]
    assert corrected[inner] == pytest.approx(p[inner] * w / (p[inner] * w + 1 - p[inner]))


@given(PROBABILITIES, FACTORS)
def test_two_classes_are_a_case_of_several(numbers, factors):
    p = np.array(numbers)
    several = PriorCorrection(factors).corrected(np.stack([1 - p, p], axis=1))
    assert several[:, 1] == pytest.approx(PriorCorrection(factors).corrected(p), abs=1e-12)
    assert several.sum(axis=1) == pytest.approx(1)


@given(PROBABILITIES, FACTORS)
def test_a_correction_is_undone_by_its_inverse_and_keeps_the_order(numbers, factors):
    p = np.sort(np.array(numbers))
    corrected = PriorCorrection(factors).corrected(p)
    assert (np.diff(corrected) >= 0).all()
    assert PriorCorrection(factors[::-1]).corrected(corrected) == pytest.approx(p, rel=1e-6, abs=1e-9)


def test_a_row_has_the_same_bits_alone():
    p = np.random.default_rng(0).dirichlet(np.ones(7), 1000)
    correction = PriorCorrection((1.0, 2.0, 0.3, 4.0, 5.0, 6.0, 7.0))
    whole = correction.corrected(p)
    assert all((correction.corrected(p[i : i + 1]) == whole[i]).all() for i in range(1000))


def test_matching_finds_the_shares():
    p = np.random.default_rng(1).beta(1, 3, 5_000)
    shares = np.array([0.9, 0.1])
    assert PriorCorrection.matching(p, shares).corrected(p).mean() == pytest.approx(0.1, rel=1e-5)
    weight = np.linspace(0, 2, 5_000)
    assert np.average(PriorCorrection.matching(p, shares, weight).corrected(p), weights=weight) == pytest.approx(0.1, rel=1e-5)
    several = np.random.default_rng(2).dirichlet([1, 2, 3], 5_000)
    assert PriorCorrection.matching(several, np.array([0.7, 0.2, 0.1])).corrected(several).mean(axis=0) == pytest.approx(
        [0.7, 0.2, 0.1], rel=1e-5
    )


def test_a_class_without_rows_keeps_its_probability():
    p = np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]])
    assert PriorCorrection.matching(p, np.array([0.1, 0.9, 0.0])).corrected(p)[:, 2].tolist() == [0, 0]
    with_rest = np.array([[0.4, 0.5, 0.1]])
    assert PriorCorrection.matching(with_rest, np.array([0.3, 0.7, 0.0])).corrected(with_rest).sum() == pytest.approx(1)


@pytest.mark.parametrize("factors", [[1, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_damaged_factors_are_refused(factors):
    with pytest.raises(ValueError, match="must be positive"):
        PriorCorrection.from_json(factors)
