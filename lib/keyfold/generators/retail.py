"""A SYNTHETIC retail chain in two layouts: years of thin purchases, then some weeks of rich ones; nobody in it exists.

Buying again depends on the interaction of product and age, which both layouts have, and on earlier purchases, loyalty points and the
type of card, which only rich rows have. Thin rows have a payment code in place of the card: cash, debit, or any credit card.
"""

from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Doubles, Int64s
from keyfold.engine.columns import col, lit
from keyfold.generators.drawing import ColumnArrays, chance, crossing, cumulative_shares, draw, random_stream, texts
from keyfold.generators.generator import EventLog

if TYPE_CHECKING:
    from keyfold.engine.engine import Engine
    from keyfold.engine.frame import Frame

AGES = ["18-25", "26-35", "36-45", "46-55", "56-65", "66+"]
CARDS = ["cash", "debit", "visa", "mastercard", "amex"]
CODES = ["C", "D", "K", "K", "K"]  # of the cards, in thin rows
PRODUCTS = 200
PRODUCT_NAMES = [f"product {number:03}" for number in range(1, PRODUCTS + 1)]


class _World(NamedTuple):
    """Effects on the log-odds of buying again, the same for all seeds."""

    age: Doubles
    product: Doubles
    taste: Doubles  # ages x products


class Retail(EventLog):
    """Purchases of a retail chain, one row each: in the layout `thin`, and in the last `rich_days` days in the layout `rich`."""

    generator: Literal["retail"] = Field(description="Name of the generator.")
    days: int = Field(360, ge=2, le=10_000, description="Number of days, up to the end.")
    rich_days: int = Field(
        30, ge=1, description="Number of days, up to the end, in the layout `rich`; earlier days are in the layout `thin`."
    )

    outcome: ClassVar = "bought_again"
    types: ClassVar = {
        "purchase_id": "bigint", "day": "date", "age_group": "string", "product": "string", "price": "double",
        "payment_code": "string", "card_type": "string", "loyalty_points": "bigint", "earlier_purchases": "bigint",
        "bought_again": "boolean", "true_probability": "double",
    }  # fmt: skip
    layouts: ClassVar = {
        "thin": [c for c in types if c not in ("card_type", "loyalty_points", "earlier_purchases")],
        "rich": [c for c in types if c != "payment_code"],
    }

    def layout(self, engine: "Engine", name: str) -> "Frame":
        """The purchases in one layout, with its columns."""
        last_thin = lit(date.fromisoformat(self.end) - timedelta(min(self.rich_days, self.days)))
        rows = self.frame(engine)
        return rows.where(col("day") > last_thin if name == "rich" else col("day") <= last_thin).select(self.layouts[name])

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        world, n = _world(), len(ids)
        age = draw(rng, cumulative_shares([14, 22, 20, 18, 14, 12]), n)
        product = draw(rng, cumulative_shares(1 / (np.arange(PRODUCTS) + 30)), n)
        card = draw(rng, cumulative_shares([20, 30, 25, 20, 5]), n)
        earlier = np.minimum(rng.geometric(0.3, n) - 1, 30)
        points = earlier * 10 + rng.integers(0, 50, n)
        price = np.round(20 * np.exp(0.8 * rng.standard_normal(n)), 2)
        rich = 0.3 * np.minimum(earlier, 6) + 0.008 * points + np.array([-0.5, 0, 0.2, 0.1, 0.6])[card]
        truth = chance(-2.6 + rich + world.age[age] + world.product[product] + world.taste[age, product])
        return {
            "purchase_id": ids, "day": day, "age_group": texts(AGES, age), "product": texts(PRODUCT_NAMES, product),
            "price": price, "payment_code": texts(CODES, card), "card_type": texts(CARDS, card), "loyalty_points": points,
            "earlier_purchases": earlier, "bought_again": rng.random(n) < truth, "true_probability": truth,
        }  # fmt: skip


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_29)
    age, product = 0.2 * rng.standard_normal(len(AGES)), 0.4 * rng.standard_normal(PRODUCTS)
    return _World(age, product, crossing(rng, len(AGES), PRODUCTS, 1.0))
