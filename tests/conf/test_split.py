"""The section `split`: shares that sum to 1, and boundaries in time with gaps."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.conf.split import FoldShares, TimeBoundaries, utc_text
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError

TIME = {"validation": "2026-07-01", "test": "2026-09-01", "gap": "10 days"}
DAY = 86_400_000_000  # microseconds


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ({"time": {"test": "soon"}}, "split.time.test: must be an ISO date or time such as 2026-09-01 (got `soon`)"),
        (
            {"time": {**TIME, "gap": "90 days"}},
            "split.time: validation (2026-07-01) must begin before test (2026-09-01), by more",
        ),
        ({"time": {**TIME, "gap": "-1 days"}}, "split.time.gap must be like `30 days` (got '-1 days')"),
        ({"share": {"test": 0.2}}, "split.share: train, validation and test must sum to 1 (got 1.1)"),
        ({"time": TIME, "folds": 3}, "split: `folds` splits by hash, and `time` by boundaries; choose one of them"),
        ({"time": TIME, "stratified": True}, "split: `stratified` splits by hash"),
    ],
)
def test_impossible_splits_are_refused(split, sentence):
    with pytest.raises(ConfError) as refused:
        parse_conf({"name": "x", "data": {"key": ["id"]}, "split": split})
    assert sentence in str(refused.value)


def micros(text):
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000


def test_folds_end_before_the_gap():
    spans = TimeBoundaries(validation="2026-07-01", test="2026-09-01", gap="30 days").spans
    assert spans == {
        "train": (None, micros("2026-06-01")), "validation": (micros("2026-07-01"), micros("2026-08-02")), "test": (micros("2026-09-01"), None),
    }  # fmt: skip
    assert TimeBoundaries(test="2026-09-01", gap="1 week").spans == {
        "train": (None, micros("2026-08-25")), "test": (micros("2026-09-01"), None),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gap", "length"), [("0 days", 0), ("1 day", DAY), ("2 weeks", 14 * DAY), ("3 hours", DAY // 8), ("1 minute", 60_000_000)]
)
def test_a_gap_has_a_unit(gap, length):
    assert TimeBoundaries(test="2026-09-01", gap=gap).gap_micros == length


def test_a_boundary_without_an_offset_is_in_utc():
    assert TimeBoundaries(test="2026-09-01T02:00+02:00").spans == TimeBoundaries(test="2026-09-01").spans


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)))
def test_times_are_written_as_they_are_read(at):
    text = utc_text((at - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1))
    assert dt.datetime.fromisoformat(text) == at and (" " in text) == (at.time() != dt.time())


@pytest.mark.parametrize("shares", [{"train": 0.7, "validation": 0.1, "test": 0.2}, {"train": 1, "validation": 0, "test": 0}])
def test_shares_sum_to_one(shares):
    assert FoldShares(**shares).model_dump() == shares
