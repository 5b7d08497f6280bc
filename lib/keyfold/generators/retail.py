"""A SYNTHETIC retail chain in two layouts: years of thin purchases, then some weeks of rich ones; nobody in it exists.

Buying again depends on the interaction of product and age, which both layouts have, and on earlier purchases, loyalty points and the
type of card, which only rich rows have. Thin rows have a payment code in place of the card: cash, debit, or any credit card.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from keyfold.core.arrays import Doubles
from keyfold.engine import functions as F
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

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

AGES = ["18-25", "26-35", "36-45", "46-55", "56-65", "66+"]
CARDS = ["cash", "debit", "visa", "mastercard", "amex"]
CODES = ["C", "D", "K", "K", "K"]  # of the cards, in thin rows
PRODUCTS = 200


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

    types: ClassVar = {
        "purchase_id": "bigint",
        "day": "date",
        "age_group": "string",
        "product": "string",
        "price": "double",
        "payment_code": "string",
        "card_type": "string",
        "loyalty_points": "bigint",
        "earlier_purchases": "bigint",
        "bought_again": "boolean",
        "true_probability": "double",
    }
    layouts: ClassVar = {
        "thin": [c for c in types if c not in ("card_type", "loyalty_points", "earlier_purchases")],
        "rich": [c for c in types if c != "payment_code"],
    }

    def layout(self, spark: "SparkSession", name: str) -> "DataFrame":
        """The purchases in one layout, with its columns."""
        ago = F.date_diff(F.lit(self.end).cast("date"), F.col("day"))
        days = ago < self.rich_days if name == "rich" else ago >= self.rich_days
        return self.frame(spark).where(days).select(*self.layouts[name])

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """The first `size` rows of a block."""
        rng, world, n = random_stream(self.seed, number), _world(), self.size
        day, last = self.days_of(rng)
        age, product = (
            draw(rng, cumulative_shares([14, 22, 20, 18, 14, 12]), n),
            draw(rng, cumulative_shares(1 / (np.arange(PRODUCTS) + 30)), n),
        )
        card = draw(rng, cumulative_shares([20, 30, 25, 20, 5]), n)
        earlier = np.minimum(rng.geometric(0.3, n) - 1, 30)
        points = earlier * 10 + rng.integers(0, 50, n)
        price = np.round(20 * np.exp(0.8 * rng.standard_normal(n)), 2)
        rich = 0.3 * np.minimum(earlier, 6) + 0.008 * points + np.array([-0.5, 0, 0.2, 0.1, 0.6])[card]
        truth = chance(-2.6 + rich + world.age[age] + world.product[product] + world.taste[age, product])
        columns = {
            "purchase_id": sparse_ids(number * n + 1 + np.arange(n)), "day": day, "age_group": age, "product": product,
            "price": price, "payment_code": card, "card_type": card, "loyalty_points": points, "earlier_purchases": earlier,
            "bought_again": rng.random(n) < truth, "true_probability": truth,
        }  # fmt: skip
        cut = {name: values[:size] for name, values in columns.items()}
        products = [f"product {number:03}" for number in range(1, PRODUCTS + 1)]
        names = {"age_group": AGES, "product": products, "payment_code": CODES, "card_type": CARDS}
        return as_arrow(schema_of(self.types), cut, names, {"bought_again": last[:size]})


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_29)
    age, product = 0.2 * rng.standard_normal(len(AGES)), 0.4 * rng.standard_normal(PRODUCTS)
    return _World(age, product, crossing(rng, len(AGES), PRODUCTS, 1.0))
