"""The section `features` of a drafted conf."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from drafts import Draw, Write, frame, look, table


def test_amounts_with_a_currency_sign_are_text_with_a_hint(draw: Draw) -> None:
    text, conf = draw(frame(fee=["£19.99", "£5"] * 200, price=[f"{i}.50 €" for i in range(400)]))
    said = "its numbers carry the sign `{}` and are read as text: remove it in the file to make them numbers"
    assert f"  fee: {{one_hot: {{input_col: fee}}}}  # 2 different values; {said.format('£')}\n" in text
    assert f"  # price is left out: {said.format('€')}.\n" in text
    assert conf["data"]["columns"]["price"] == "string"


def test_gaps_between_dates_of_any_form(draw: Draw) -> None:
    days = [f"{i % 28 + 1:02}.0{i % 9 + 1}.2026" if i % 3 else None for i in range(400)]
    _, conf = draw(frame(a=days, b=[day and day[:6] + "26" for day in days]))
    assert {conf["data"]["columns"]["a"], conf["data"]["columns"]["b"]} == {"date(dd.MM.yyyy)", "date(dd.MM.yy)"}


def test_states_and_numeric_codes_are_categories(draw: Draw) -> None:
    _, conf = draw(frame(state=[f"S{i % 51}" for i in range(400)], store_id=[i % 7 for i in range(400)]))
    assert conf["features"]["state"] == {"one_hot": {"input_col": "state"}}
    assert conf["features"]["store_id"] == {"one_hot": {"input_col": "store_id"}}


def test_date_parts_recur_within_the_time_span(draw: Draw) -> None:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(400) * 2, "D")
    hours = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(400), "h")
    _, conf = draw(frame(joined=days.strftime("%Y-%m-%d"), at=hours.strftime("%Y-%m-%d %H:%M")))
    assert conf["features"]["joined"] == {
        "date_parts": {"input_col": "joined", "parts": ["day_of_week", "month"], "cyclic": True}
    }
    assert conf["features"]["at"] == {"date_parts": {"input_col": "at", "parts": ["hour", "day_of_week"], "cyclic": True}}


def test_days_between_dates_are_features(draw: Draw) -> None:
    began = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(400) % 50, "D")
    ended = began + pd.to_timedelta(np.arange(400) % 7, "D")
    table = frame(
        began=began.strftime("%Y-%m-%d"),
        ended=ended.strftime("%Y-%m-%d %H:%M"),
        birth_date=[f"19{i % 90 + 10}-03-01" for i in range(400)],
    )
    _, conf = draw(table)
    assert conf["features"]["ended_after_began"]["numeric"]["input_col"] == {"difference": ["ended", "began"]}
    text, conf = draw(table.assign(at=(ended + pd.Timedelta("3D")).strftime("%Y-%m-%d")), time="at")
    ages = {name: f["numeric"]["input_col"] for name, f in conf["features"].items() if name.endswith("_age")}
    assert ages == {f"{name}_age": {"age": name} for name in ("began", "ended", "birth_date")}
    assert "birth_date is left out" not in text and "birth_date" not in conf["features"]


def test_each_kind_of_column_gets_its_feature(write: Write) -> None:
    frame = pd.DataFrame({"id": range(2_000), "y": [0, 1, 0, 0] * 500, "few": ["a", "b"] * 1_000})
    frame["city"], frame["Flag"] = [f"city {i % 119}" for i in frame.id], [True, False] * 1_000
    path = write(frame.assign(x=[1.5, None] * 1_000).to_csv(index=False))
    _, conf = look(path)
    assert conf["features"] == {
        "few": {"one_hot": {"input_col": "few", "min_frequency": 10}},
        "city": {"hashed": {"input_col": "city", "num_buckets": 512}},
        "flag": {"one_hot": {"input_col": "Flag", "min_frequency": 10}},
        "x": {"numeric": {"input_col": "x", "scale": "standard", "missing": "mean"}},
    }
    assert conf["report"]["slices"] == ["few"]


def test_the_most_buckets_are_2_to_the_18(write: Write) -> None:
    values = [f"v{i % 80_000}" for i in range(90_000)]
    text, conf = look(write(pd.DataFrame({"id": range(90_000), "y": [0, 1] * 45_000, "v": values}).to_csv(index=False)))
    # Nearly every row differs, but the file shows repeats enough to learn from.
    assert conf["features"]["v"]["hashed"]["num_buckets"] == 1 << 18
    assert "over 65,536 different values" in text


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([f"C-{i}" for i in range(20)], "v is left out: every row has a different value, as with identifiers."),
        (range(100, 120), "v is left out: it is a different whole number in every row, as identifiers are."),
        (["same"] * 20, "v is left out: it is same in every row."),
        ([""] * 20, "v is left out: every value is missing."),
        (["2026-10-01", "2026-10-02"] * 10, "v is left out: no recurring part of its dates varies, such as the weekday."),
    ],
)
def test_useless_columns_are_left_out_with_the_reason(write: Write, values: Any, why: str) -> None:
    text, conf = look(write(table(v=[*values])))
    assert [*conf["features"]] == ["x"]
    assert f"  # {why}" in text


def test_amounts_that_differ_by_chance_are_no_identifiers(write: Write) -> None:
    _, conf = look(write(table(v=[i * i * 37 + 5 for i in range(20)])))
    assert "v" in conf["features"]


def test_free_text_gets_a_vocabulary(write: Write) -> None:
    path = write("id,y,v\n" + "".join(f"{i},{i % 2},it broke again on day {i % 160}\n" for i in range(320)))
    assert look(path)[1]["features"] == {"v": {"text": {"input_col": "v", "max_tokens": 5000}}}
