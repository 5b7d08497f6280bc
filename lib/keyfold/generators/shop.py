"""A SYNTHETIC shop: how often a visitor viewed a product, its category, and whether it was bought; nobody in it exists.

Purchases depend on interactions: of age and category, and of views and price (many views raise the odds for an expensive product, and
lower them for a cheap one). `layout` has no effect.
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Doubles, Int64s
from keyfold.generators.drawing import ColumnArrays, chance, crossing, cumulative_shares, draw, random_stream, texts
from keyfold.generators.generator import EventLog

SHOP_AGES = ["18-25", "26-35", "36-45", "46-55", "56-65", "66+"]
CATEGORIES = ["books", "clothes", "cosmetics", "electronics", "furniture", "games", "garden", "groceries", "sports", "tools"]
TYPICAL = np.array([15, 40, 20, 250, 300, 45, 60, 8, 70, 90.0])  # price by category
VIEWS, PRICES = [2, 4, 8], [10, 30, 100, 300]  # the boundaries of ranges
RANGES = ["below 10", "10 to 30", "30 to 100", "100 to 300", "300 and more"]
SHOP_LAYOUTS = ["A", "B"]


class _World(NamedTuple):
    """Effects on the log-odds of buying, the same for all seeds."""

    age: Doubles
    category: Doubles
    taste: Doubles  # ages x categories
    doubt: Doubles  # ranges of views x ranges of prices


class Shop(EventLog):
    """Visits of a shop: one row per visitor and product, with the true probability of a purchase; those of the last day are unknown."""

    generator: Literal["shop"] = Field(description="Name of the generator.")

    outcome: ClassVar = "bought"
    types: ClassVar = {
        "visit_id": "bigint", "day": "date", "age_group": "string", "product_category": "string", "views": "int",
        "price": "double", "price_range": "string", "layout": "string", "bought": "boolean", "true_probability": "double",
    }  # fmt: skip

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        world, n = _world(), len(ids)
        age = draw(rng, cumulative_shares([14, 22, 20, 18, 14, 12]), n)
        category = draw(rng, cumulative_shares([12, 14, 8, 10, 5, 8, 7, 20, 9, 7]), n)
        views, layout = np.minimum(rng.geometric(0.25, n), 40), rng.integers(0, 2, n)
        price = np.round(TYPICAL[category] * np.exp(0.9 * rng.standard_normal(n)), 2)
        looked, costs = np.searchsorted(VIEWS, views, "right"), np.searchsorted(PRICES, price, "right")
        own = world.age[age] + world.category[category] + 0.25 * looked - 0.15 * costs
        truth = chance(-1.9 + own + world.taste[age, category] + world.doubt[looked, costs])
        return {
            "visit_id": ids, "day": day, "age_group": texts(SHOP_AGES, age), "product_category": texts(CATEGORIES, category),
            "views": views, "price": price, "price_range": texts(RANGES, costs), "layout": texts(SHOP_LAYOUTS, layout), "bought": rng.random(n) < truth,
            "true_probability": truth,
        }  # fmt: skip


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_28)
    age, category = (0.2 * rng.standard_normal(n) for n in (len(SHOP_AGES), len(CATEGORIES)))
    doubt = 0.55 * np.outer(np.linspace(-1.5, 1.5, len(VIEWS) + 1), np.linspace(-1.5, 1.5, len(RANGES)))
    return _World(age, category, crossing(rng, len(SHOP_AGES), len(CATEGORIES), 0.9), doubt)
