"""Counts for quantiles do not depend on how the rows are divided."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.core import quantiles


def counts_of(counted):
    """Rows by value, in no order: tiny negative numbers become 0.0 and may be counted apart from it."""
    counts = collections.Counter()
    for value, amount in zip(*counted[:2], strict=True):
        counts[float(value)] += int(amount)
    return counts


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60), st.integers(1, 59), st.sampled_from([3, 20, 100]))
def test_counts_for_quantiles_are_cut_alike_in_any_parts(xs, at, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "_MOST", most)
        whole, *parts = (quantiles.count_numbers(np.array(part)) for part in (xs, xs[:at], xs[at:]) if part)
        values, amounts = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        merged = quantiles.shorten_counts(values, amounts, min(part[2] for part in parts))
    assert counts_of(merged) == counts_of(whole)
    assert merged[2] == whole[2]
    result = quantiles.quantiles_at(*whole[:2], [0.0, 0.25, 1.0])
    assert result == pytest.approx(np.quantile(xs, [0, 0.25, 1], method="inverted_cdf"), rel=2**-8)
    if len(set(xs)) <= most:
        assert result == np.quantile(xs, [0, 0.25, 1], method="inverted_cdf").tolist()
