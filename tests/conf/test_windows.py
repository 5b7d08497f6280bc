"""The windows of a conf are of one series in one order."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError


def conf(*windows, key=("shop", "day"), time="day", **sections):
    data = {"key": [*key], "columns": {"day": "date"}} | ({"time": time} if time else {})
    features = {
        f"w{i}": {"windowed": {"input_col": "x", "over": "2 rows", "take": "sum"} | more} for i, more in enumerate(windows)
    }
    return parse_conf({"name": "n", "data": data, "features": features} | sections)


def test_the_series_is_the_key_without_the_time():
    series = conf({}, {"over": "all", "input_col": "y"}).windows
    assert (series.by, series.time, series.inputs) == (["shop"], "day", [("x", None), ("y", None)])
    assert [window.name for window in series.windows] == ["w0", "w1"]


def test_a_conf_without_windows_has_no_series():
    assert parse_conf({"name": "n", "data": {"key": ["id"]}}).windows is None


def test_a_view_with_the_time_of_knowledge_has_its_latest_in_each_frame():
    series = conf({}, {"take": "mean"}, {"over": "all"}, view={"created": "seen"}).windows
    assert series.inputs[-1] == ("seen", None)
    assert [window.value for window in series.windows[3:]] == ["x1", "x1"], "one for each frame"


@pytest.mark.parametrize(("windows", "options", "sentence"), [
    ([{}], {"time": None}, "features.w0: windows need data.time"),
    ([{}], {"key": ("day",)}, r"features.w0.by must name the series, since the key does not \(\[\] if the table is one series\)"),
    ([{"order_by": ["id", "day"]}], {}, r"features.w0.order_by must begin with data.time, `day` \(got id\)"),
    ([{}, {"by": ["city"]}], {}, "features.w1 is by city, ordered by day, and features.w0 is by shop"),
    ([{}, {"order_by": ["day", "id"]}], {}, "features.w1 is by shop, ordered by day, id"),
])  # fmt: skip
def test_windows_of_other_series_are_refused(windows, options, sentence):
    with pytest.raises(ConfError, match=sentence):
        conf(*windows, **options)
