"""SYNTHETIC product reviews that three raters have labelled; nobody wrote or read them.

A review praises a product or complains about it. Some are unclear: they do both, and hedge, so their words hardly say which of the two they
mean, and raters guess. The errors of each rater on clear and on unclear reviews are known.
"""

from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.generators.drawing import ColumnArrays, cumulative_shares, draw, joined_texts, random_stream, texts
from keyfold.generators.generator import EventLog

SENTIMENTS = ["negative", "positive"]
PRODUCTS = ["kettle", "lamp", "radio", "scale", "toaster"]
ERRORS = {"rater_1": (0.02, 0.42), "rater_2": (0.04, 0.45), "rater_3": (0.06, 0.48)}  # of clear and of unclear reviews
WORDS = {
    "blame": "awful bad broke broken cheap complaint cracked defective difficult disappointed faulty flimsy hate junk leaks loud never "
    "noisy poor refund regret return rubbish slow stopped terrible useless waste worse worst",
    "praise": "amazing beautiful best bright delighted durable easy elegant excellent fantastic fast favourite fine gift glad good great "
    "happy ideal love lovely perfect pleased quick quiet recommend reliable solid sturdy superb",
    "hedges": "although average but fair however maybe mixed okay perhaps sometimes somewhat though",
}
FILLERS = 1_500
POSITIVE = 0.6  # share of the reviews
FITTING = 0.9  # share of praise among the words of sentiment of a clear positive review, and of blame in a negative one
MIXED = (0.1, 0.9)  # that of praise in an unclear review, from and to,
LEANING = 0.06  # and how much more of it, or less, if it is positive or negative
OF_SENTIMENT = (0.1, 0.3)  # share of words of sentiment in a review, from and to
HEDGING = (0.01, 0.12)  # share of hedges among the words of a clear and of an unclear review
SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]


class _World(NamedTuple):
    """The words that all seeds sample from: fillers, blame, praise, hedges; and the cumulative shares of the fillers."""

    words: list[str]
    fillers: Doubles


class Reviews(EventLog):
    """Product reviews: one row per review, with three raters' votes, the true sentiment, and whether it is unclear; votes of the last day are unknown."""

    generator: Literal["reviews"] = Field(description="Name of the generator.")
    rows: int = Field(20_000, ge=1, le=2**50, description="Number of rows.")
    unclear: float = Field(0.25, ge=0, le=1, description="Share of unclear reviews.")

    types: ClassVar = {
        "review_id": "bigint", "written_at": "timestamp", "product": "string", "text": "string", **dict.fromkeys(ERRORS, "string"),
        "true_sentiment": "string", "is_unclear": "boolean",
    }  # fmt: skip

    @property
    def outcomes(self) -> list[str]:
        """The votes."""
        return list(ERRORS)

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        n = len(ids)
        positive, unclear = rng.random(n) < POSITIVE, rng.random(n) < self.unclear
        return {
            "review_id": ids,
            "written_at": day.astype("M8[us]") + rng.integers(0, 86_400_000_000, n),
            "product": texts(PRODUCTS, rng.integers(0, len(PRODUCTS), n)),
            "text": _words(rng, positive, unclear),
            **{name: _named(positive ^ (rng.random(n) < np.where(unclear, *errors[::-1]))) for name, errors in ERRORS.items()},
            "true_sentiment": _named(positive),
            "is_unclear": unclear,
        }  # fmt: skip


def _named(positive: Bools) -> pa.Array:
    return texts(SENTIMENTS, positive.astype(np.int64))


def _words(rng: np.random.Generator, positive: Bools, unclear: Bools) -> pa.Array:
    """The text of each review."""
    world, n = _world(), len(positive)
    lengths, sign = 6 + rng.poisson(20, n), np.where(positive, 1, -1)
    praise = np.where(unclear, rng.uniform(*MIXED, n) + LEANING * sign, 0.5 + (FITTING - 0.5) * sign)
    strength, hedging = rng.uniform(*OF_SENTIMENT, n), np.where(unclear, *HEDGING[::-1])
    row = np.repeat(np.arange(n), lengths)
    ends = np.cumsum([FILLERS, *(len(words.split()) for words in WORDS.values())])
    blamed, praised, hedge = (rng.integers(*span, len(row)) for span in pairwise(ends))
    sentiment = np.where(rng.random(len(row)) < praise[row], praised, blamed)
    kinds = [rng.random(len(row)) < share[row] for share in (hedging, strength)]
    return joined_texts(np.select(kinds, [hedge, sentiment], draw(rng, world.fillers, len(row))), lengths, world.words)


@lru_cache(maxsize=1)
def _world() -> _World:
    digits = np.stack(np.unravel_index(random_stream(20_41).permutation(60**2)[:FILLERS], (60, 60)), 1)
    fillers = ["".join(SYLLABLES[i] for i in of) for of in digits]
    return _World([*fillers, *" ".join(WORDS.values()).split()], cumulative_shares(1 / (10 + np.arange(FILLERS))))
