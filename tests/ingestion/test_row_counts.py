"""Row counts: shares compared as decimals, and counts by period and reason."""

from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyfold.core.names import PERIOD, REASON
from keyfold.ingestion.row_counts import exceeds_share, first_periods, kept_by_period, quarantined_by_reason


@given(st.integers(0, 10**6), st.integers(0, 10**4))
@example(100, 2900)  # 0.29 * 100 is less than 29 in doubles
def test_a_part_that_is_exactly_the_share_does_not_exceed_it(whole, basis_points):
    share = basis_points / 10_000
    limit = Fraction(basis_points, 10_000) * whole
    assert not exceeds_share(limit.numerator // limit.denominator, whole, share)
    assert exceeds_share(limit.numerator // limit.denominator + 1, whole, share)


ROWS = st.lists(st.tuples(st.sampled_from(["2026-01", "2026-02", None]), st.sampled_from([None, "x", "y"]), st.integers(1, 9)))


@settings(max_examples=30)
@given(ROWS)
def test_each_row_is_kept_or_has_a_reason(drawn):
    counted = [{PERIOD: period, REASON: reason, "n": n} for period, reason, n in drawn]
    kept, reasons = kept_by_period(counted), quarantined_by_reason(counted)
    assert sum(kept.values()) + sum(reasons.values()) == sum(n for *_, n in drawn)
    assert None not in reasons and set(kept) == {period for period, reason, _ in drawn if reason is None}


def test_five_periods_are_named():
    assert first_periods("cab") == "a, b, c" and first_periods("gfedcba") == "a, b, c, d, e …"
