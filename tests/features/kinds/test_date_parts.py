"""Parts of dates and times, by hand."""

import datetime as dt
import math

import pytest

from every_kind import fitted
from keyfold.errors import ConfError


def test_parts_of_a_day():
    at = dt.datetime(2026, 11, 23, 17, 5)  # a Monday
    days = [at, dt.datetime(1969, 12, 31, 23, 59, 59, 999999), None]
    parts = ["hour", "day_of_week", "day_of_month", "month"]
    conf = {"date_parts": {"input_col": "t", "parts": parts}}
    _, result = fitted([(d,) for d in days], "t timestamp_ntz", f=conf)
    assert result["f"].tolist() == [[18, 1, 23, 11], [24, 3, 31, 12], [0, 0, 0, 0]]
    circle = {"date_parts": {"input_col": "t", "parts": ["hour"], "cyclic": True}}
    _, result = fitted([(d,) for d in days], "t timestamp_ntz", f=circle)
    angle = 2 * math.pi * 17 / 24
    assert result["f"][[0, 2]].tolist() == [[math.sin(angle), math.cos(angle)], [0, 0]]
    with pytest.raises(ConfError, match="is a date and has no hour"):
        fitted([(at.date(),)], "t date", f={"date_parts": {"input_col": "t", "parts": ["hour"]}})
