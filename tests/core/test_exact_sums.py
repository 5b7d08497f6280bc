"""Exact sums of doubles, and correctly rounded roots."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hard_numbers import numbers
from keyfold.core import exact_sums


@settings(max_examples=300)
@given(numbers, st.integers(0, 40))
def test_sums_are_exact_and_those_of_parts_add_up(xs, cut):
    whole, *parts = (exact_sums.limb_sums(np.array(part)) for part in (xs, xs[:cut], xs[cut:]))
    wanted = {"x": sum(map(Fraction, xs)), "xx": sum(Fraction(x) ** 2 for x in xs)}
    assert {name: exact_sums.exact_total(whole, name) for name in wanted} == wanted
    assert {name: sum(exact_sums.exact_total(part, name) for part in parts) for name in wanted} == wanted
    assert all(abs(limb) < 2**31 for limb in whole.values())


@given(st.fractions(min_value=0), st.integers(-1200, 1200))
def test_the_root_is_correctly_rounded(square, power):
    square *= Fraction(2) ** power
    result = exact_sums.rounded_sqrt(square)
    below, above = ((Fraction(result) + Fraction(math.nextafter(result, to))) / 2 for to in (-math.inf, math.inf))
    assert max(below, 0) ** 2 <= square <= above**2
