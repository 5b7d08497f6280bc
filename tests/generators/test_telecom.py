"""The telecom history: keys, months, leaving, and the truth behind the labels."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from keyfold.generators.telecom import TELECOM_BLOCK, Telecom

LAST = 12 * 56 + 9  # 2026-10, in months since 1970-01
MONTHS = [*range(LAST - 5, LAST + 1)]


def block(number: int, **options: object) -> pa.RecordBatch:
    return Telecom(generator="telecom", **options).block(number, TELECOM_BLOCK)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pa.Table.from_batches([block(n) for n in range(60)])


@pytest.fixture(scope="module")
def rows(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().assign(month=lambda t: t.month.to_numpy("M8[M]").astype(int))


@pytest.fixture(scope="module")
def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows.left_next_month.notna()].astype({"left_next_month": bool})


def test_every_month_has_rows_with_unique_keys(rows: pd.DataFrame) -> None:
    assert sorted(rows.month.unique()) == MONTHS
    assert not rows.duplicated(["customer_id", "month"]).any()
    assert 0.9 * 60 * TELECOM_BLOCK < rows.customer_id.nunique() <= 60 * TELECOM_BLOCK


def test_only_customers_who_leave_have_no_row_in_the_next_month(rows: pd.DataFrame, labelled: pd.DataFrame) -> None:
    pairs = set(zip(rows.customer_id, rows.month, strict=True))
    after = [pair in pairs for pair in zip(labelled.customer_id, labelled.month + 1, strict=True)]
    assert (np.array(after) == ~labelled.left_next_month).all()
    spans = rows.groupby("customer_id").month.agg(["min", "max", "count"])
    assert (spans["max"] - spans["min"] + 1 == spans["count"]).all()


def test_only_the_last_month_has_no_label(rows: pd.DataFrame) -> None:
    assert (rows.left_next_month.isna() == (rows.month == MONTHS[-1])).all()


def test_customers_join_over_time_and_tenure_follows_the_calendar(rows: pd.DataFrame) -> None:
    joined = rows.groupby("customer_id").month.min().value_counts()
    assert sorted(joined.index) == MONTHS and (joined > 100).all()
    assert rows.tenure_days.min() > 0
    pairs = rows.merge(rows.assign(month=rows.month + 1), on=["customer_id", "month"])
    month = pairs.month.to_numpy("M8[M]")
    days = (month + 1).astype("M8[D]") - month.astype("M8[D]")
    assert (pairs.tenure_days_x - pairs.tenure_days_y == days.astype(int)).all()


def test_the_monthly_rate_of_leaving_is_realistic(labelled: pd.DataFrame) -> None:
    assert 0.03 < labelled.left_next_month.mean() < 0.05
    assert labelled.groupby("month").left_next_month.mean().between(0.025, 0.055).all()


def test_the_auc_of_the_true_probability_is_as_documented(labelled: pd.DataFrame) -> None:
    assert 0.83 < roc_auc_score(labelled.left_next_month, labelled.true_probability) < 0.87


@pytest.mark.parametrize("by", ["month", "contract", "plan", "complaints", "payment_method"])
def test_the_true_probability_is_calibrated_in_every_group(labelled: pd.DataFrame, by: str) -> None:
    p = labelled.true_probability
    sums = (labelled.left_next_month - p).groupby(labelled[by]).sum()
    sigma = np.sqrt((p * (1 - p)).groupby(labelled[by]).sum())
    assert (abs(sums) < 4 * sigma).all()


def test_values_are_plausible(rows: pd.DataFrame) -> None:
    distinct = rows[["contract", "plan", "age_group", "payment_method", "city"]].nunique()
    assert [*distinct[:4]] == [3, 8, 6, 4] and distinct["city"] > 2_500
    assert not all(city.isascii() for city in rows.city.unique())
    assert 0.015 < rows.data_gb.isna().mean() < 0.025
    assert (rows.customer_id > 2**53).mean() > 0.4 and rows.customer_id.min() > 0
    assert (rows[["calls", "support_calls", "complaints", "late_payments", "monthly_charge"]] >= 0).all(axis=None)
    assert rows.drop(columns=["data_gb", "usage_change", "left_next_month"]).notna().all(axis=None)
    first = rows.month == rows.groupby("customer_id").month.transform("min")
    assert (rows.usage_change.isna() == (first & (rows.month > MONTHS[0]))).all()


def test_usage_has_a_season() -> None:
    year = pa.Table.from_batches([block(n, months=12, end="2026-12") for n in range(10)]).to_pandas()
    mean = year.groupby("month").data_gb.mean()
    assert mean.iloc[-1] > 1.15 * mean.iloc[5]


def test_one_more_month_only_adds_rows_and_fills_in_labels() -> None:
    before = block(2, months=6, end="2026-10")
    after = block(2, months=7, end="2026-11").to_pandas()
    same = after[after.month < pd.Timestamp("2026-11-01").date()].reset_index(drop=True)
    known = before.to_pandas()
    pd.testing.assert_frame_equal(known.drop(columns="left_next_month"), same.drop(columns="left_next_month"))
    assert same.left_next_month.notna().all()
    assert (known.left_next_month.isna() | (known.left_next_month == same.left_next_month)).all()


@pytest.mark.parametrize("wrong", [{"months": 1}, {"cutsomers": 5}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Telecom(generator="telecom", **wrong)
