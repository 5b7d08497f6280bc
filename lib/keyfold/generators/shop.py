"""A SYNTHETIC shop: how often a visitor viewed a product of which category, and bought it or not; nobody in it exists.

Purchases depend on interactions: of age and category, and of views and price (many views raise the odds for an expensive product, and
lower them for a cheap one). `layout` has no effect.
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from keyfold.core.arrays import Doubles
from keyfold.generators.generator import (
    EventLog,
    as_arrow,
    chance,
    crossing,
    cumulative_shares,
    draw,
    random_stream,
    schema_of,
    sparse_ids,
)

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

    types: ClassVar = {
        "visit_id": "bigint",
        "day": "date",
        "age_group": "string",
        "product_category": "string",
        "views": "int",
        "price": "double",
        "price_range": "string",
        "layout": "string",
        "bought": "boolean",
        "true_probability": "double",
    }

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """The first `size` rows of a block."""
        rng, world, n = random_stream(self.seed, number), _world(), self.size
        day, last = self.days_of(rng)
        age, category = (
            draw(rng, cumulative_shares([14, 22, 20, 18, 14, 12]), n),
            draw(rng, cumulative_shares([12, 14, 8, 10, 5, 8, 7, 20, 9, 7]), n),
        )
        views, layout = np.minimum(rng.geometric(0.25, n), 40), rng.integers(0, 2, n)
        price = np.round(TYPICAL[category] * np.exp(0.9 * rng.standard_normal(n)), 2)
        looked, costs = np.searchsorted(VIEWS, views, "right"), np.searchsorted(PRICES, price, "right")
        own = world.age[age] + world.category[category] + 0.25 * looked - 0.15 * costs
        truth = chance(-1.9 + own + world.taste[age, category] + world.doubt[looked, costs])
        columns = {
            "visit_id": sparse_ids(number * n + 1 + np.arange(n)), "day": day, "age_group": age, "product_category": category,
            "views": views, "price": price, "price_range": costs, "layout": layout, "bought": rng.random(n) < truth,
            "true_probability": truth,
        }  # fmt: skip
        cut = {name: values[:size] for name, values in columns.items()}
        names = {"age_group": SHOP_AGES, "product_category": CATEGORIES, "price_range": RANGES, "layout": SHOP_LAYOUTS}
        return as_arrow(schema_of(self.types), cut, names, {"bought": last[:size]})


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_28)
    age, category = (0.2 * rng.standard_normal(n) for n in (len(SHOP_AGES), len(CATEGORIES)))
    doubt = 0.55 * np.outer(np.linspace(-1.5, 1.5, len(VIEWS) + 1), np.linspace(-1.5, 1.5, len(RANGES)))
    return _World(age, category, crossing(rng, len(SHOP_AGES), len(CATEGORIES), 0.9), doubt)
