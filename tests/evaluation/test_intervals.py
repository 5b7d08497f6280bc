"""Metrics and numbers as text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.evaluation.intervals import Metric, format_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9996, "0.9996"), (0.99999, "0.99999"), (0.99995, "0.99995"), (1.0, "1.00"), (0.953, "0.953"), (0.9951, "0.995"), (0.5, "0.500"), (-0.99997, "-0.99997"),
        (12345.6, "12,346"), (1.0003, "1.00"), (0.0, "0.000"), (np.nan, "–"), (np.inf, "+∞"), (1 - 1e-12, "0.99999999"), (2e-10, "2.000e-10"),
    ],
)  # fmt: skip
def test_numbers_below_1_are_not_formatted_as_1(value, text):
    assert format_number(value) == text


@given(st.floats(0.5, 1, exclude_max=True), st.integers(0, 6))
def test_any_number_below_1_reads_as_less_than_1(value, places):
    assert float(format_number(value)) < 1
    assert float(format_number(value, places)) < 1


def test_a_metric_is_formatted_with_its_interval():
    assert str(Metric(0.9996, 0.99, 0.99998)) == "0.9996 (0.9900 – 0.99998)"
    assert f"{Metric(0.801, 0.756, 0.844)}" == "0.801 (0.756 – 0.844)"
    assert str(Metric(0.7, np.nan, np.nan)) == "0.700"
