"""Reviews: raters err as often as they are said to, mostly about unclear reviews, whose words hardly say the sentiment."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifier

from generated import blocks, make
from keyfold.generators.reviews import ERRORS, POSITIVE


@pytest.fixture(scope="module")
def rows():
    return blocks(make("reviews"), range(12)).to_pandas()


def test_only_the_last_day_has_no_votes(rows):
    last = rows.written_at.dt.date.astype(str) == "2026-10-31"
    assert all((rows[rater].isna() == last).all() for rater in ERRORS)
    assert rows.drop(columns=[*ERRORS]).notna().all(axis=None)


def test_raters_err_as_often_as_they_are_said_to(rows):
    known = rows[rows.rater_1.notna()]
    for rater, errors in ERRORS.items():
        for unclear, error in zip((False, True), errors, strict=True):
            seen = known[known.is_unclear == unclear]
            assert abs((seen[rater] != seen.true_sentiment).mean() - error) < 4 * np.sqrt(error / len(seen))
    assert abs((rows.true_sentiment == "positive").mean() - POSITIVE) < 0.02 and abs(rows.is_unclear.mean() - 0.25) < 0.02


def test_the_share_of_unclear_reviews_is_an_option():
    for share in (0, 1):
        assert (blocks(make("reviews", unclear=share), [0]).to_pandas().is_unclear == bool(share)).all()


def test_words_say_the_sentiment_of_clear_reviews_and_which_are_unclear(rows):
    words = TfidfVectorizer(min_df=3).fit_transform(rows.text)
    half = np.arange(len(rows)) % 2 == 0
    right = RidgeClassifier().fit(words[half], rows.true_sentiment[half]).predict(words[~half]) == rows.true_sentiment[~half]
    unclear = rows.is_unclear[~half]
    assert right[~unclear].mean() > 0.9 and right[unclear].mean() < 0.7
    told = RidgeClassifier().fit(words[half], rows.is_unclear[half]).predict(words[~half])
    assert told[unclear].mean() > told[~unclear].mean() + 0.4
