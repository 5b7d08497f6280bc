"""SYNTHETIC house sales: where a house is, what it has and its price; nobody lives in it.

Prices are skewed, and their logarithm depends on interactions: of place and size, and of age and place. They vary more near the water.
Prices above a cap are written as the cap, as in censuses.
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Doubles, Int64s
from keyfold.generators.drawing import ColumnArrays, cumulative_shares, draw, random_stream, texts
from keyfold.generators.generator import EventLog

TOWNS = 40
KM = 300  # length of the coast, which is at x = 0
PLACES = ["coast", "inland", "suburb", "town"]


class _World(NamedTuple):
    """The towns that all seeds sample from: their places (km), their effects on the log price, and cumulative shares of the sales."""

    x: Doubles
    y: Doubles
    price: Doubles
    shares: Doubles


class Houses(EventLog):
    """House sales: one row per sale, with its price (skewed and capped) and the true median price; that of the last day is unknown."""

    generator: Literal["houses"] = Field(description="Name of the generator.")
    cap: float = Field(500_000, gt=0, description="Highest price; higher ones are written as this one.")

    outcome: ClassVar = "price"
    types: ClassVar = {
        "sale_id": "bigint", "sold_on": "date", "x_km": "double", "y_km": "double", "place": "string", "rooms": "int",
        "area": "double", "age": "double", "income": "double", "price": "double", "true_median": "double",
    }  # fmt: skip

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        world, n = _world(), len(ids)
        town = draw(rng, world.shares, n)
        away = 12 * np.abs(rng.standard_normal(n))  # km from the centre of the town
        angle = rng.random(n) * 2 * np.pi
        x, y = np.abs(world.x[town] + away * np.cos(angle)), world.y[town] + away * np.sin(angle)
        place = np.select([x < 8, away < 5, away < 15], [0, 3, 2], 1)
        rooms = 1 + rng.poisson(3.2, n)
        area = np.round(rooms * 22 * np.exp(0.25 * rng.standard_normal(n)), 1)
        age = np.round(60 * rng.beta(1.2, 1.6, n))
        income = np.round(np.exp(1.2 + 0.3 * world.price[town] + 0.4 * rng.standard_normal(n)), 3)
        central = np.exp(-away / 10)
        log_price = (
            8.75 + world.price[town] * central + 0.55 * np.log(area) + 0.5 * np.log(income) + 0.6 * np.exp(-x / 12)
            + np.where(place == 3, 0.004, -0.006) * age
        )  # fmt: skip
        noise = 0.16 + 0.2 * np.exp(-x / 12)
        return {
            "sale_id": ids, "sold_on": day, "x_km": np.round(x, 2), "y_km": np.round(y, 2), "place": texts(PLACES, place),
            "rooms": rooms.astype(np.int32), "area": area, "age": age, "income": income,
            "price": self._written(log_price + noise * rng.standard_normal(n)), "true_median": self._written(log_price),
        }  # fmt: skip

    def _written(self, log_price: Doubles) -> Doubles:
        return np.minimum(np.round(np.exp(log_price), -2), self.cap)


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_31)
    x, y = 120 * rng.random(TOWNS) ** 2, KM * rng.random(TOWNS)
    return _World(x, y, 0.7 * np.abs(rng.standard_normal(TOWNS)), cumulative_shares(0.3 + rng.random(TOWNS) ** 2))
