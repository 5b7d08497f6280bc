"""SYNTHETIC news: short texts of words that no language has, each about any number of topics; nobody wrote them.

Each topic has words of its own, and some that any text may have. Topics occur together: an article about one is often about those that
are near it. Frequent topics have thousands of articles, rare ones a few. An editor forgets one topic in twenty.
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.generators.drawing import ColumnArrays, cumulative_shares, draw, joined_texts, random_stream, texts
from keyfold.generators.generator import EventLog

TOPICS = [
    "politics", "economy", "sport", "crime", "health", "business", "weather", "science", "film", "music", "education", "energy", "courts",
    "technology", "transport", "food", "travel", "housing", "farming", "books", "space", "religion", "theatre", "fishing", "chess",
]  # fmt: skip
AGENCIES = ["Albatross", "Bittern", "Curlew", "Dunlin"]
SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
COMMON, OWN, SHARED = 3_000, 40, 20  # words of all texts, of one topic, and common ones that a topic uses more
FORGOTTEN = 0.05
WITHOUT = 0.06  # share of articles about none of the topics


class _World(NamedTuple):
    """Words and topics that all seeds sample from."""

    words: list[str]
    common: Doubles  # cumulative shares
    topical: Int64s  # words of each topic (topics, OWN + SHARED)
    together: Doubles  # chance of each topic by the main one (topics, topics)


class News(EventLog):
    """News articles: one row per article, with its text and its topics; those of the last day are unknown."""

    generator: Literal["news"] = Field(description="Name of the generator.")
    rows: int = Field(20_000, ge=1, le=2**50, description="Number of rows.")

    outcome: ClassVar = "topics"
    types: ClassVar = {
        "article_id": "bigint", "published_at": "timestamp", "agency": "string", "text": "string", "topics": "string",
    }  # fmt: skip

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        world, n = _world(), len(ids)
        about = rng.random((n, len(TOPICS))) < world.together[draw(rng, _SHARES, n)]
        about &= rng.random((n, 1)) >= WITHOUT
        text = joined_texts(*_words(rng, world, about), world.words)
        told = about & (rng.random(about.shape) >= FORGOTTEN)
        return {
            "article_id": ids,
            "published_at": day.astype("M8[us]") + rng.integers(0, 86_400_000_000, n),
            "agency": texts(AGENCIES, rng.integers(0, len(AGENCIES), n)),
            "text": text,
            "topics": joined_texts(np.nonzero(told)[1], told.sum(axis=1), TOPICS, ","),
        }


_SHARES = cumulative_shares(1 / (2 + np.arange(len(TOPICS))) ** 1.7)


def _words(rng: np.random.Generator, world: _World, about: Bools) -> tuple[Int64s, Int64s]:
    """The words of all articles, and the number of words of each."""
    lengths = 12 + rng.poisson(28, len(about))
    row = np.repeat(np.arange(len(about)), lengths)
    topics, strength = about.sum(axis=1), 0.06 + 0.24 * rng.random(len(about))
    first = np.argsort(~about, axis=1, kind="stable")  # the topics of each article, then the others
    topic = first[row, np.floor(rng.random(len(row)) * np.maximum(topics, 1)[row]).astype(np.int64)]
    own = world.topical[topic, draw(rng, _TOPICAL, len(row))]
    word = np.where((rng.random(len(row)) < strength[row]) & (topics > 0)[row], own, draw(rng, world.common, len(row)))
    return word, lengths


_TOPICAL = cumulative_shares(1 / (3 + np.arange(OWN + SHARED)))


@lru_cache(maxsize=1)
def _world() -> _World:
    rng, n = random_stream(20_31), len(TOPICS)
    words = [
        "".join(SYLLABLES[i] for i in digits) for digits in np.stack(np.unravel_index(rng.permutation(60**3), (60, 60, 60)), 1)
    ]
    shared = rng.integers(0, COMMON, (n, SHARED))
    own = COMMON + np.arange(n * OWN).reshape(n, OWN)
    topical = rng.permuted(np.concatenate([own, shared], axis=1), axis=1)
    together = np.where(rng.random((n, n)) < 0.1, 0.2, 0.004)
    np.fill_diagonal(together, 1.0)
    return _World(words[: COMMON + n * OWN], cumulative_shares(1 / (10 + np.arange(COMMON))), topical, together)
