"""SYNTHETIC card transactions: when, where and how much was paid, and whether it was a fraud; nobody in it exists.

About 0.2 % are frauds. They depend on interactions: of distance and time since the card's last payment (one cannot travel that fast),
and of hour and way of payment (at night, online). Each category of merchants has its own risk.
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Doubles, Int64s
from keyfold.generators.drawing import ColumnArrays, chance, cumulative_shares, draw, random_stream, sparse_ids, texts
from keyfold.generators.generator import EventLog

CARDS = 20_000
MERCHANTS = [
    "airline", "bakery", "cinema", "clothes", "electronics", "fuel", "furniture", "games", "groceries", "hotel", "jewellery",
    "kiosk", "pharmacy", "restaurant", "taxi", "tickets",
]  # fmt: skip
TYPICAL = np.array([280, 8, 22, 60, 190, 55, 240, 30, 45, 160, 350, 6, 18, 35, 20, 70.0])  # amount by category
HOURS = cumulative_shares(1.15 - np.cos(2 * np.pi * (np.arange(24) - 3) / 24))  # peaks at three in the afternoon
NIGHT = 6  # the first hours of a day
KM_PER_HOUR = 900  # of an airliner


class _World(NamedTuple):
    """The cards and categories that all seeds sample from."""

    card: Doubles  # effect on the log-odds of a fraud
    spends: Doubles  # factor of a card's amounts
    online: Doubles  # share of each card's payments
    category: Doubles


class Cards(EventLog):
    """Card transactions: one row per payment, with the true probability of a fraud (0.2 % on average); that of the last day is unknown."""

    generator: Literal["cards"] = Field(description="Name of the generator.")

    outcome: ClassVar = "fraud"
    types: ClassVar = {
        "transaction_id": "bigint", "paid_at": "timestamp", "card_id": "bigint", "category": "string", "amount": "double",
        "times_usual": "double", "online": "int", "minutes_since_last": "double", "km_from_last": "double",
        "kmh": "double", "fraud": "boolean", "true_probability": "double",
    }  # fmt: skip

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        world, n = _world(), len(ids)
        card, category, hour = rng.integers(0, CARDS, n), draw(rng, _SHARES, n), draw(rng, HOURS, n)
        times_usual = np.exp(0.8 * rng.standard_normal(n))
        online = rng.random(n) < world.online[card]
        minutes = np.round(np.exp(5.5 + 1.6 * rng.standard_normal(n)), 1)
        km = np.where(online, 0, np.round(np.exp(1.2 + 1.9 * rng.standard_normal(n)), 1))
        kmh = np.round(km / (minutes + 1) * 60, 1)  # the speed of a traveller with the card
        own = world.card[card] + world.category[category] + 2.2 * np.log(times_usual)
        truth = chance(-9.06 + own + 6.0 * np.log1p(kmh / KM_PER_HOUR) + np.where(hour < NIGHT, 0.5 + 2.5 * online, 0.5 * online))
        return {
            "transaction_id": ids,
            "paid_at": day.astype("M8[us]") + (hour * 3_600_000_000 + rng.integers(0, 3_600_000_000, n)),
            "card_id": sparse_ids(card + 1), "category": texts(MERCHANTS, category),
            "amount": np.round(TYPICAL[category] * world.spends[card] * times_usual, 2), "times_usual": times_usual,
            "online": online.astype(np.int32), "minutes_since_last": minutes, "km_from_last": km, "kmh": kmh,
            "fraud": rng.random(n) < truth, "true_probability": truth,
        }  # fmt: skip


_SHARES = cumulative_shares([2, 9, 4, 8, 4, 9, 2, 4, 18, 3, 1, 10, 7, 11, 5, 3])


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_29)
    card, spends, online = (rng.standard_normal(CARDS) for _ in range(3))
    return _World(0.5 * card, np.exp(0.4 * spends), chance(online - 0.8), rng.standard_normal(len(MERCHANTS)))
