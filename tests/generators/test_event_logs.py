"""The logs of clicks and of a shop: days, labels, and planted interactions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from generated import blocks, make
from keyfold.generators.shop import RANGES, VIEWS


@pytest.fixture(scope="module", params=[("clicks", "shown_at", "clicked"), ("shop", "day", "bought")], ids=lambda p: p[0])
def log(request) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """The name, all rows with their day, and the labelled ones with their label as `y`."""
    name, time, label = request.param
    rows = blocks(make(name), range(150)).to_pandas().assign(age=lambda t: (END - t[time].to_numpy("M8[D]")).astype(int))
    rows = rows.assign(y=rows[label], views_range=np.searchsorted(VIEWS, rows.views, "right") if name == "shop" else 0)
    rows["hour"] = rows.shown_at.dt.hour if name == "clicks" else 0
    return name, rows, rows[rows.y.notna()].astype({"y": bool})


END = np.datetime64("2026-10-31")


def test_the_log_spans_its_days_and_only_the_last_has_no_label(log) -> None:
    _, rows, _ = log
    assert sorted(rows.age.unique()) == [*range(28)]
    assert rows.age.value_counts().between(0.9 * len(rows) / 28, 1.1 * len(rows) / 28).all()
    assert (rows.y.isna() == (rows.age == 0)).all()
    assert rows.drop(columns=["y", "clicked", "bought"], errors="ignore").notna().all(axis=None)


def test_the_auc_of_the_true_probability_is_as_documented(log) -> None:
    name, _, labelled = log
    low, high = {"clicks": (0.78, 0.82), "shop": (0.70, 0.74)}[name]
    assert low < roc_auc_score(labelled.y, labelled.true_probability) < high
    assert 0.16 < labelled.y.mean() < 0.19


GROUPS = {
    "clicks": ["user_group", "ad_id", "device", "hour", "layout", "age"],
    "shop": ["age_group", "product_category", "views_range", "price_range", "layout", "age"],
}


def test_the_true_probability_is_calibrated_in_every_group(log) -> None:
    name, _, labelled = log
    p = labelled.true_probability
    for by in GROUPS[name]:
        sums = (labelled.y - p).groupby(labelled[by]).sum()
        assert (abs(sums) < 4 * np.sqrt((p * (1 - p)).groupby(labelled[by]).sum())).all(), by


CROSSES = {
    "clicks": [("user_group", "ad_id"), ("device", "hour")],
    "shop": [("age_group", "product_category"), ("views_range", "price_range")],
}


def test_most_of_a_planted_interaction_is_not_additive(log) -> None:
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


def test_values_are_plausible() -> None:
    clicks, shop = (blocks(make(name), range(50)).to_pandas() for name in ("clicks", "shop"))
    assert clicks[["user_group", "ad_id", "keyword", "device"]].nunique().tolist() == [6, 100, 500, 3]
    assert 4_500 < clicks.user_id.nunique() <= 5_000
    assert not clicks.drop_duplicates(["user_id", "user_group"]).user_id.duplicated().any()
    assert clicks.shown_at.dt.hour.value_counts(normalize=True)[[4, 16]].diff().iloc[1] > 0.05
    assert shop[["age_group", "product_category", "price_range"]].nunique().tolist() == [6, 10, 5]
    assert shop.views.min() == 1 and shop.views.max() <= 40 and shop.price.min() > 0
    assert shop.groupby("price_range").price.min().sort_values().index.tolist() == RANGES
