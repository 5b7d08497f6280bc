"""Formats of numbers and dates."""

import re
from datetime import datetime
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.profiling import value_formats
from keyfold.profiling.value_formats import NUMBER_FORMATS, NumberFormat


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(10**12), 10**12), min_size=1), st.integers(0, 4), st.sampled_from(NUMBER_FORMATS))
def test_any_number_is_read_in_its_format(whole: list[int], places: int, form: NumberFormat) -> None:
    def written(number: int) -> str:
        units, rest = divmod(abs(number), 10**places)
        grouped = f"{units:,}".replace(",", form.thousands)
        return "-" * (number < 0) + grouped + (f"{form.decimal}{rest:0{places}}" if places else "")

    texts = pa.array([*map(written, whole)])
    kind = "double" if places else "bigint"
    assert pa.compute.all(pa.compute.match_substring_regex(texts, f"^({form.pattern(kind)})$")).as_py()
    assert form.plain(texts).cast(pa.float64()).to_pylist() == [number / 10**places for number in whole]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), min_size=1),
    st.sampled_from(value_formats.DATES),
)
def test_any_date_is_read_in_its_format(days: list[Any], form: str) -> None:
    tokens = {
        "yyyy": "%Y",
        "yy": "%y",
        "MMM": "%b",
        "MM": "%m",
        "dd": "%d",
        "M": "%-m",
        "d": "%-d",
        "HH": "%H",
        "H": "%-H",
        "mm": "%M",
        "ss": "%S",
    }
    python = re.sub("yyyy|yy|MMM|MM|M|dd|d|HH|H|mm|ss", lambda token: tokens[token[0]], form)
    texts = pa.array([day.strftime(python) for day in days])
    assert value_formats.are_dates(texts, form)
    shape = "%Y-%m-%d" + (" %H:%M:%S" if "ss" in form else " %H:%M:00" if "mm" in form else "")
    assert value_formats.dates_as_iso(texts, form).to_pylist() == [day.strftime(shape) for day in days]


def test_text_that_is_not_a_date_is_null() -> None:
    texts = pa.array([None, "", "1.2", "31.12.2026"])
    assert value_formats.dates_as_iso(texts, "dd.MM.yyyy").to_pylist() == [None, None, None, "2026-12-31"]
    assert value_formats.dates_as_iso(pa.array([None, "1.2.26 7:05"]), "d.M.yy H:mm").to_pylist() == [None, "2026-02-01 07:05:00"]
