"""House sales: skewed and capped prices around a true median, which interactions decide."""

import numpy as np
import pytest

from generated import blocks, make


@pytest.fixture(scope="module")
def rows():
    return blocks(make("houses"), range(30)).to_pandas()


def test_only_the_last_day_has_no_price(rows):
    assert (rows.price.isna() == (rows.sold_on.astype(str) == "2026-10-31")).all()
    assert rows.drop(columns="price").notna().all(axis=None)


def test_prices_are_skewed_and_capped(rows):
    assert rows.price.skew() > 0.8 and abs(np.log(rows.price[rows.price < 500_000]).skew()) < 0.4
    assert rows.price.max() == 500_000 and 0.03 < (rows.price == 500_000).mean() < 0.08
    assert blocks(make("houses", cap=200_000.0), range(2)).to_pandas().price.max() == 200_000


def test_the_true_median_halves_the_prices_of_each_place(rows):
    known = rows[(rows.true_median < 450_000) & rows.price.notna()]
    for place, of in known.groupby("place"):
        assert abs((of.price > of.true_median).mean() - 0.5) < 2 / np.sqrt(len(of)), place


def test_interactions_are_planted(rows):
    known = rows[rows.price < 500_000]
    error = np.log(known.price) - np.log(known.true_median)
    assert error[known.x_km < 5].std() > 1.6 * error[known.x_km > 40].std()
    of_age = {p: np.polyfit(o.age, np.log(o.true_median) - 0.55 * np.log(o.area), 1)[0] for p, o in known.groupby("place")}
    assert of_age["town"] > 0.001 > -0.003 > of_age["inland"]
