"""Card transactions: few frauds, whose true probability is calibrated, and planted interactions."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from generated import blocks, make
from keyfold.generators.cards import MERCHANTS, NIGHT


@pytest.fixture(scope="module")
def rows():
    return blocks(make("cards"), range(150)).to_pandas()


@pytest.fixture(scope="module")
def labelled(rows):
    return rows[rows.fraud.notna()].astype({"fraud": bool})


def test_two_in_a_thousand_are_frauds(rows):
    assert 0.0015 < rows.true_probability.mean() < 0.0025


def test_only_the_last_day_has_no_label(rows):
    assert (rows.fraud.isna() == (rows.paid_at.dt.date.astype(str) == "2026-10-31")).all()
    assert rows.drop(columns="fraud").notna().all(axis=None)


def test_the_curves_of_the_true_probability_are_as_documented(labelled):
    assert 0.93 < roc_auc_score(labelled.fraud, labelled.true_probability) < 0.97
    assert 0.2 < average_precision_score(labelled.fraud, labelled.true_probability) < 0.45


def test_the_true_probability_is_calibrated_in_every_group(labelled):
    p = labelled.true_probability
    for by in (labelled.category, labelled.online, labelled.paid_at.dt.hour, np.round(np.log(labelled.times_usual))):
        sums, variance = (labelled.fraud - p).groupby(by).sum(), (p * (1 - p)).groupby(by).sum()
        assert (abs(sums) < 4 * np.sqrt(variance) + 1).all()


def test_interactions_are_planted(rows):
    night, fast = rows.paid_at.dt.hour < NIGHT, rows.kmh > 900

    def risk(mask):
        return np.log(rows.true_probability[mask] + 1e-6).mean()

    assert risk(night & (rows.online == 1)) - risk(night & (rows.online == 0)) > 2
    assert risk(~night & (rows.online == 1)) - risk(~night & (rows.online == 0)) < 0.7
    assert risk(fast) - risk(~fast) > 4


def test_values_are_plausible(rows):
    assert set(rows.category) == set(MERCHANTS)
    assert 0.25 < rows.online.mean() < 0.45 and (rows.km_from_last[rows.online == 1] == 0).all()
    assert rows[["amount", "times_usual", "minutes_since_last"]].min().min() > 0
    assert rows.groupby("category").amount.median()["jewellery"] > 10 * rows.groupby("category").amount.median()["kiosk"]
