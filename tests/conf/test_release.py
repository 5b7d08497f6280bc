"""Bounds on metrics of the test fold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyfold.conf.release import Bound, Release
from keyfold.evaluation.intervals import Metric

NUMBERS = st.floats(-9, 9)


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted), st.none() | NUMBERS, st.none() | NUMBERS)
def test_an_interval_clears_a_bound_only_if_all_its_values_do(values, least, most):
    if (least, most) == (None, None):
        return
    low, value, high = values
    plain, whole = (Bound(at_least=least, at_most=most, interval=interval) for interval in (False, True))
    metric = Metric(value, low, high)
    assert plain.cleared(metric) == whole.cleared(Metric(value, value, value))
    assert whole.cleared(metric) == all(plain.cleared(Metric(number, low, high)) for number in values)


def test_nan_clears_no_bound():
    nan = Metric(math.nan, math.nan, math.nan)
    assert not Bound(at_least=0).cleared(nan) and not Bound(at_most=1, interval=True).cleared(nan)


@pytest.mark.parametrize(("conditions", "sentence"), [
    ({"roc_auc": {}}, "must have at_least, at_most or better_than"),
    ({"roc_auc": {"better_than": "champion", "interval": True}}, "`interval` is for at_least and at_most"),
    ({"at_least": 0.7}, r"must name the metric, as in \{roc_auc: \{at_least: 0.7\}\}"),
])  # fmt: skip
def test_conditions_without_a_bound_or_a_metric_are_refused(conditions, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Release(promote_if=conditions)


def test_a_bound_reads_as_words():
    assert str(Bound(at_least=0.75, at_most=0.9)) == "at least 0.75 and at most 0.9"
    assert Release(promote_if={"roc_auc": {"better_than": "champion"}}).compares
    assert not Release(promote_if={"roc_auc": {"at_least": 0.7}}).compares
