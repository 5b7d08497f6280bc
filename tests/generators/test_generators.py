"""What is made keeps its laws: keys, leaving, truth, planted effects, growth, and the same rows however it is cut."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from keyfold.generators import GENERATORS, Telecom
from keyfold.generators.generator import schema_of
from keyfold.generators.shop import RANGES, VIEWS
from keyfold.generators.telecom import TELECOM_BLOCK, telecom_block
from keyfold.generators.ticks import STATES

LAST = 12 * 56 + 9  # 2026-10, in months since 1970-01
MONTHS = [*range(LAST - 5, LAST + 1)]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pa.Table.from_batches([telecom_block(seed=0, number=n) for n in range(60)])


@pytest.fixture(scope="module")
def rows(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().assign(month=lambda t: t.month.to_numpy("M8[M]").astype(int))


@pytest.fixture(scope="module")
def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows.left_next_month.notna()].astype({"left_next_month": bool})


def test_every_month_has_rows_and_a_key_stands_once_in_each(rows: pd.DataFrame) -> None:
    assert sorted(rows.month.unique()) == MONTHS
    assert not rows.duplicated(["customer_id", "month"]).any()
    assert 0.9 * 60 * TELECOM_BLOCK < rows.customer_id.nunique() <= 60 * TELECOM_BLOCK


def test_whoever_leaves_has_no_later_row_and_all_others_have_the_next(rows: pd.DataFrame, labelled: pd.DataFrame) -> None:
    there = set(zip(rows.customer_id, rows.month, strict=True))
    after = [pair in there for pair in zip(labelled.customer_id, labelled.month + 1, strict=True)]
    assert (np.array(after) == ~labelled.left_next_month).all()
    spans = rows.groupby("customer_id").month.agg(["min", "max", "count"])
    assert (spans["max"] - spans["min"] + 1 == spans["count"]).all()


def test_only_the_last_month_has_no_label_yet(rows: pd.DataFrame) -> None:
    assert (rows.left_next_month.isna() == (rows.month == MONTHS[-1])).all()


def test_customers_join_over_time_and_grow_older_by_the_calendar(rows: pd.DataFrame) -> None:
    joined = rows.groupby("customer_id").month.min().value_counts()
    assert sorted(joined.index) == MONTHS and (joined > 100).all()
    assert rows.tenure_days.min() > 0
    pairs = rows.merge(rows.assign(month=rows.month + 1), on=["customer_id", "month"])
    month = pairs.month.to_numpy("M8[M]")
    days = (month + 1).astype("M8[D]") - month.astype("M8[D]")
    assert (pairs.tenure_days_x - pairs.tenure_days_y == days.astype(int)).all()


def test_the_monthly_rate_is_a_real_companys(labelled: pd.DataFrame) -> None:
    assert 0.03 < labelled.left_next_month.mean() < 0.05
    assert labelled.groupby("month").left_next_month.mean().between(0.025, 0.055).all()


def test_the_truth_ranks_as_well_as_said(labelled: pd.DataFrame) -> None:
    assert 0.83 < roc_auc_score(labelled.left_next_month, labelled.true_probability) < 0.87


@pytest.mark.parametrize("by", ["month", "contract", "plan", "complaints", "payment_method"])
def test_the_truth_is_calibrated_in_every_group(labelled: pd.DataFrame, by: str) -> None:
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
    year = pa.Table.from_batches([telecom_block(0, n, months=12, end="2026-12") for n in range(10)]).to_pandas()
    mean = year.groupby("month").data_gb.mean()
    assert mean.iloc[-1] > 1.15 * mean.iloc[5]


def test_one_more_month_only_adds_rows_and_fills_in_labels() -> None:
    before, after = telecom_block(0, 2, months=6, end="2026-10"), telecom_block(0, 2, months=7, end="2026-11").to_pandas()
    same = after[after.month < pd.Timestamp("2026-11-01").date()].reset_index(drop=True)
    known = before.to_pandas()
    pd.testing.assert_frame_equal(known.drop(columns="left_next_month"), same.drop(columns="left_next_month"))
    assert same.left_next_month.notna().all()
    assert (known.left_next_month.isna() | (known.left_next_month == same.left_next_month)).all()


# --- the laws of generators whose things have a number ---

KEYS = {"telecom": ["customer_id", "month"], "clicks": ["impression_id"], "shop": ["visit_id"], "retail": ["purchase_id"]}
SIZES = {"telecom": "customers", "clicks": "rows", "shop": "rows", "retail": "rows"}
names = pytest.mark.parametrize("name", KEYS)


def make(name, things=200_000, seed=0, **options):
    return GENERATORS[name](generator=name, seed=seed, **{SIZES[name]: things}, **options)


def blocks(generator, numbers):
    return pa.Table.from_batches([generator.block(n, generator.size) for n in numbers])


@names
def test_a_larger_table_begins_with_the_smaller_one(name: str) -> None:
    few, more = make(name).block(3, 10), make(name).block(3, 900)
    assert more.slice(0, few.num_rows).equals(few)
    key = KEYS[name][0]
    assert few.column(key).unique().to_pylist() == more.column(key).unique().to_pylist()[:10]
    assert make(name, things=1).block(3, 10).equals(few)


@names
def test_seeds_and_blocks_differ(name: str) -> None:
    block = make(name).block(0, 1000)
    assert not block.equals(make(name, seed=1).block(0, 1000))
    assert not block.column("true_probability").equals(make(name).block(1, 1000).column("true_probability"))
    assert make(name, seed=2**63 - 1).block(0, 1000).equals(make(name, seed=2**63 - 1).block(0, 1000))


@names
def test_keys_are_unique_and_some_are_beyond_a_double(name: str) -> None:
    rows = blocks(make(name), range(20)).to_pandas()
    assert not rows.duplicated(KEYS[name]).any()
    assert (rows[KEYS[name][0]] > 2**53).mean() > 0.4 and rows[KEYS[name][0]].min() > 0


@names
def test_spark_makes_the_same_rows_in_any_number_of_partitions(spark, name: str) -> None:
    generator, things = make(name, things=4_010, seed=5), [1000] * 4 + [10]
    expected = pa.Table.from_batches([generator.block(n, size) for n, size in enumerate(things)])
    order = [(key, "ascending") for key in KEYS[name]]
    for partitions in (1, 3, 8):
        made = generator.frame(spark, partitions).toArrow().cast(schema_of(generator.types))
        assert made.sort_by(order).equals(expected.sort_by(order))


@names
@pytest.mark.parametrize("wrong", [{"sede": 1}, {"seed": -1}, {"end": "2026-13"}, {"size": 0}])
def test_wrong_options_are_refused(name: str, wrong: dict[str, object]) -> None:
    wrong = {SIZES[name] if option == "size" else option: value for option, value in wrong.items()}
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        GENERATORS[name](generator=name, **wrong)


@pytest.mark.parametrize("wrong", [{"months": 1}, {"cutsomers": 5}])
def test_wrong_options_of_the_company_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Telecom(generator="telecom", **wrong)


# --- prices ---


def prices(**options):
    return GENERATORS["prices"](generator="prices", **{"symbols": 4, "days": 2000, **options})


def test_prices_are_of_working_days_and_follow_the_days_before(spark) -> None:
    made = blocks(prices(), range(4))
    rows = made.to_pandas()
    assert not rows.duplicated(["stock", "Date"]).any() and len(rows) == 8000
    days = rows.Date.to_numpy("M8[D]")
    assert np.is_busday(days).all() and days.max() == np.datetime64("2026-10-30")
    # The change is that of the price, and half of the mean of the five before is in it.
    assert np.allclose(100 * np.diff(np.log(rows.value[:2000])), rows.change[1:2000], atol=1e-3)
    past = rows.groupby("stock").change.transform(lambda c: c.shift(1).rolling(5).mean())
    slope = np.polyfit(past[past.notna()], rows.change[past.notna()], 1)[0]
    assert 0.4 < slope < 0.6
    for partitions in (1, 3):
        assert prices().frame(spark, partitions).toArrow().sort_by([("stock", "ascending"), ("Date", "ascending")]).equals(made)
    assert not blocks(prices(seed=1), range(4)).equals(made)
    with pytest.raises(ValidationError, match="days"):
        prices(days=1)


# --- what is planted in the logs ---


@pytest.fixture(scope="module", params=[("clicks", "shown_at", "clicked"), ("shop", "day", "bought")], ids=lambda p: p[0])
def log(request) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """The name, all rows with their day, and the labelled ones with their label as `y`."""
    name, time, label = request.param
    rows = blocks(make(name), range(150)).to_pandas().assign(age=lambda t: (END - t[time].to_numpy("M8[D]")).astype(int))
    rows = rows.assign(y=rows[label], views_range=np.searchsorted(VIEWS, rows.views, "right") if name == "shop" else 0)
    rows["hour"] = rows.shown_at.dt.hour if name == "clicks" else 0
    return name, rows, rows[rows.y.notna()].astype({"y": bool})


END = np.datetime64("2026-10-31")


def test_the_log_spans_its_days_and_only_the_last_has_no_label_yet(log) -> None:
    _, rows, _ = log
    assert sorted(rows.age.unique()) == [*range(28)]
    assert rows.age.value_counts().between(0.9 * len(rows) / 28, 1.1 * len(rows) / 28).all()
    assert (rows.y.isna() == (rows.age == 0)).all()
    assert rows.drop(columns=["y", "clicked", "bought"], errors="ignore").notna().all(axis=None)


def test_the_truth_of_the_log_ranks_as_well_as_said(log) -> None:
    name, _, labelled = log
    low, high = {"clicks": (0.78, 0.82), "shop": (0.70, 0.74)}[name]
    assert low < roc_auc_score(labelled.y, labelled.true_probability) < high
    assert 0.16 < labelled.y.mean() < 0.19


GROUPS = {
    "clicks": ["user_group", "ad_id", "device", "hour", "layout", "age"],
    "shop": ["age_group", "product_category", "views_range", "price_range", "layout", "age"],
}


def test_the_truth_of_the_log_is_calibrated_in_every_group(log) -> None:
    name, _, labelled = log
    p = labelled.true_probability
    for by in GROUPS[name]:
        sums = (labelled.y - p).groupby(labelled[by]).sum()
        assert (abs(sums) < 4 * np.sqrt((p * (1 - p)).groupby(labelled[by]).sum())).all(), by


CROSSES = {
    "clicks": [("user_group", "ad_id"), ("device", "hour")],
    "shop": [("age_group", "product_category"), ("views_range", "price_range")],
}


def test_most_of_a_planted_cross_is_no_sum_of_its_parts(log) -> None:
    name, rows, _ = log
    log_odds = np.log(rows.true_probability / (1 - rows.true_probability))
    for a, b in CROSSES[name]:
        cells = log_odds.groupby([rows[a], rows[b]]).mean().unstack().to_numpy()  # noqa: PD010 - there is nothing to aggregate
        cells = cells[:, np.isfinite(cells).all(0)]
        alone = cells - cells.mean(0) - cells.mean(1, keepdims=True) + cells.mean()
        assert alone.var() > 0.6 * cells.var() and alone.std() > 0.4, (a, b)


def test_the_layout_has_no_effect(log) -> None:
    _, rows, _ = log
    mean, error = (rows.groupby("layout").true_probability.agg(how) for how in ("mean", "sem"))
    assert abs(mean["A"] - mean["B"]) < 3 * np.hypot(*error)


def test_what_is_in_the_logs_is_plausible() -> None:
    clicks, shop = (blocks(make(name), range(50)).to_pandas() for name in ("clicks", "shop"))
    assert clicks[["user_group", "ad_id", "keyword", "device"]].nunique().tolist() == [6, 100, 500, 3]
    assert 4_500 < clicks.user_id.nunique() <= 5_000
    assert not clicks.drop_duplicates(["user_id", "user_group"]).user_id.duplicated().any()
    assert clicks.shown_at.dt.hour.value_counts(normalize=True)[[4, 16]].diff().iloc[1] > 0.05
    assert shop[["age_group", "product_category", "price_range"]].nunique().tolist() == [6, 10, 5]
    assert shop.views.min() == 1 and shop.views.max() <= 40 and shop.price.min() > 0
    assert shop.groupby("price_range").price.min().sort_values().index.tolist() == RANGES


# --- ticks ---


def test_ticks_have_all_states_of_the_book_and_a_move_that_follows_from_each(spark) -> None:
    made = GENERATORS["ticks"](generator="ticks", rows=2 * STATES + 100)
    rows = made.frame(spark, 3).toPandas().sort_values("at")
    state = ["spread", "imbalance", "trend", "volume"]
    assert len(rows) == made.rows and rows.tick_id.is_unique and rows["at"].is_unique and (rows.tick_id > 2**53).mean() > 0.4
    assert len(rows[state].drop_duplicates()) == len(rows[[*state, "move"]].drop_duplicates()) == STATES
    assert len(rows[:STATES][state].drop_duplicates()) == STATES
    still = rows[(rows.imbalance == 0) & ((rows.trend == 0) | (rows.volume == 0))]
    assert (still.move == 0).all() and rows.move.corr(rows.imbalance) > 0.5
    other = GENERATORS["ticks"](generator="ticks", seed=1)
    assert not other.block(0, 50).equals(made.block(0, 50)) and not made.block(1, 50).equals(made.block(0, 50))
    assert made.block(2, 100).equals(made.block(2, STATES).slice(0, 100))
