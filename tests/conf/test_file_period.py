"""Periods that the names of files give."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyfold.conf.file_period import FilePeriod, propose_period
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError

WIDTHS = {"year": 4, "month": 7, "day": 10}


def of(pattern):
    return FilePeriod.model_validate({"from": "file", "pattern": pattern})


@given(
    days=st.lists(st.dates(dt.date(1990, 1, 1), dt.date(2098, 12, 31)), min_size=2, max_size=6, unique_by=lambda d: d.year),
    part=st.sampled_from(list(WIDTHS)), mark=st.sampled_from(["-", "_", ".", ""]), stem=st.sampled_from(["members", "m 2", "é3x"]),
)  # fmt: skip
def test_a_proposed_pattern_finds_the_period_of_each_file(days, part, mark, stem):
    periods = [str(day)[: WIDTHS[part]] for day in days]
    files = [f"/data/{stem}_{period.replace('-', mark)}.csv.gz" for period in periods]
    guess = propose_period(files)
    assert guess is not None
    assert list(guess.of(files).values()) == periods


def test_files_without_periods_of_their_own_get_no_proposal():
    for files in (
        ["a.csv", "b.csv"],
        ["2026-09.csv", "rest.csv"],
        ["x/2026-09.csv", "y/2026-09.csv"],
        ["2026.csv", "2026-10.csv"],
    ):
        assert propose_period(files) is None, files


def test_the_last_match_below_the_sources_own_folder_counts():
    period = of(r"(\d{4})[-_](\d{2})")
    cases = {
        ("/kept-2020-01/in", "/kept-2020-01/in/2026_09/rows.csv"): "2026-09",
        ("/kept-2020-01/in/2026-10", "/kept-2020-01/in/2026-10/rows.csv"): "2026-10",
        ("/in/rows_2026-11.csv", "/in/rows_2026-11.csv"): "2026-11",
        ("/in/old_2019-01/*_2026-*.csv", "/in/old_2019-01/rows_2026-12.csv"): "2026-12",
        ("s3a://bucket/in", "s3a://bucket/in/2024-01/2024-02.csv"): "2024-02",
    }
    for (source, file), expected in cases.items():
        assert period.of_paths(source, [file]) == {file: expected}
    with pytest.raises(DataError, match=r"does not match `in/rows.csv`; change it, or move the file"):
        period.of_paths("/kept-2020-01/in", ["/kept-2020-01/in/rows.csv"])


def test_what_is_no_period_is_refused_with_the_file():
    with pytest.raises(DataError, match=r"finds `2026-13` in `a_2026-13.csv`; a period is like 2026, 2026-10 or 2026-10-31"):
        of(r"(\d{4}-\d{2})").of(["a_2026-13.csv"])
    with pytest.raises(
        DataError,
        match=r"`2026.csv` gives 2026 and `2026-10.csv` gives 2026-10; the pattern must find a year in all files, or a month, or a day",
    ):
        of(r"(\d{4})(?:-(\d{2}))?").of(["2026.csv", "2026-10.csv"])
    for pattern, words in {
        "(": "is not a regular expression",
        r"\d{4}": "must have one to three groups",
        "()()()()": "one to three",
    }.items():
        with pytest.raises(ValidationError, match=words):
            of(pattern)


def test_a_conf_says_what_is_wrong_with_it():
    data = {"source": "rows.csv", "key": ["id"]}
    faults = {
        "data.period.pattern is missing": {"period": {"from": "file"}},
        "data.period.form is not an option \\(did you mean `from`": {"period": {"form": "file", "pattern": "(x)"}},
        "period `.from: file.` needs `source`, files whose names give the period": {
            "period": {"from": "file", "pattern": r"(\d{4})"},
            "source": None,
        },
    }
    for sentence, more in faults.items():
        with pytest.raises(ConfError, match=sentence):
            parse_conf({"name": "t", "data": data | more})
