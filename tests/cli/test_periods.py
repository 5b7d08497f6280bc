"""A period must have the form of the conf's periods."""

import pytest

from keyfold.cli.periods import checked_period
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError

MONTHLY = parse_conf({"name": "mine", "data": {"key": ["id"], "time": "day", "period": "month"}})


@pytest.mark.parametrize("period", ["2026-13", "2026", "2026-10-31", "october", "2026-1O"])
def test_a_period_of_another_form_is_refused(period):
    with pytest.raises(ConfError, match=f"--period must be like 2026-10, since data.period is month .got {period}."):
        checked_period(MONTHLY, period)


def test_no_period_is_the_default():
    assert checked_period(MONTHLY, "2026-10") == "2026-10" and checked_period(MONTHLY, None) is None
    whole = parse_conf({"name": "mine", "data": {"key": ["id"]}})
    assert checked_period(whole, "all") is checked_period(whole, None) is None


def test_periods_of_files_have_the_precision_of_their_names():
    files = parse_conf(
        {"name": "mine", "data": {"source": "*.csv", "key": ["id"], "period": {"from": "file", "pattern": r"(\d{4})-(\d{2})"}}}
    )
    assert [checked_period(files, period) for period in ("2026", "2026-10", "2026-10-31")] == ["2026", "2026-10", "2026-10-31"]
    with pytest.raises(
        ConfError, match=r"must be like 2026, 2026-10 or 2026-10-31, since data.period is that of the files' names"
    ):
        checked_period(files, "2026-10-32")
