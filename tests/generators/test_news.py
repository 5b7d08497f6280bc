"""News: texts with any number of topics, whose words say which, and of which some are rare."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from generated import blocks, make
from keyfold.generators.news import TOPICS


@pytest.fixture(scope="module")
def rows():
    return blocks(make("news"), range(8)).to_pandas()


@pytest.fixture(scope="module")
def topics(rows):
    known = rows[rows.topics.notna()]
    return known, MultiLabelBinarizer(classes=TOPICS).fit_transform([[t for t in text.split(",") if t] for text in known.topics])


def test_only_the_last_day_has_no_topics(rows):
    assert (rows.topics.isna() == (rows.published_at.dt.date.astype(str) == "2026-10-31")).all()
    assert rows.drop(columns="topics").notna().all(axis=None)


def test_articles_have_none_one_or_several_topics_and_some_are_rare(topics):
    _, has = topics
    number, rows = has.sum(axis=1), np.sort(has.sum(axis=0))
    assert 0.05 < (number == 0).mean() < 0.12 and 0.25 < (number > 1).mean() < 0.6 and number.max() >= 4
    assert rows[0] < 100 and rows[-1] > 2000


def test_topics_occur_together(topics):
    _, has = topics
    share = has.mean(axis=0)
    lift = (has.T @ has) / len(has) / np.outer(share, share)
    assert (lift[~np.eye(len(TOPICS), dtype=bool)] > 2).sum() > 10


def test_words_say_which_topics(topics):
    known, has = topics
    assert 30 < known.text.str.split().str.len().mean() < 50
    words = TfidfVectorizer(min_df=3).fit_transform(known.text)
    half = np.arange(len(has)) % 2 == 0
    predicted = RidgeClassifier().fit(words[half], has[half]).predict(words[~half])
    assert 0.5 < f1_score(has[~half], predicted, average="micro") < 0.9
