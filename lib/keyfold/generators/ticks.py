"""SYNTHETIC ticks of an order book, unlike any market. The next move of the price is an exact function of the book's state.

There are few states and all of them occur, so a model can memorize the function.
"""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from keyfold.core.arrays import Doubles, Int64s
from keyfold.generators.drawing import random_stream, schema_of, sparse_ids
from keyfold.generators.generator import Day, Generator

SPREADS, IMBALANCES, TRENDS, VOLUMES = 5, 19, 5, 4
STATES = SPREADS * IMBALANCES * TRENDS * VOLUMES


class Ticks(Generator):
    """Ticks of an order book, one row each; from 1,900 rows on, every state occurs."""

    generator: Literal["ticks"] = Field(description="Name of the generator.")
    rows: int = Field(20_000, ge=1, le=2**50, description="Number of ticks; from 1,900 on, every state occurs.")
    begin: Day = Field("2026-10-30", examples=["2026-10-30"], description="Day of the first tick.")

    types: ClassVar = {
        "tick_id": "bigint", "at": "timestamp", "spread": "int", "imbalance": "int", "trend": "int", "volume": "int", "move": "double",
    }  # fmt: skip
    size: ClassVar = STATES

    @property
    def things(self) -> int:
        """The number of rows."""
        return self.rows

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """Each state once, in a random order."""
        state = random_stream(self.seed, number).permutation(STATES)[:size]
        spread, imbalance, trend, volume = np.unravel_index(state, (SPREADS, IMBALANCES, TRENDS, VOLUMES))
        spread, imbalance, trend = spread + 1, imbalance - IMBALANCES // 2, trend - TRENDS // 2
        numbers = number * STATES + np.arange(size)
        at = np.datetime64(self.begin, "us") + (numbers * 1_000_003).astype("m8[us]")
        columns = [sparse_ids(numbers + 1), at, spread, imbalance, trend, volume, move(spread, imbalance, trend, volume)]
        schema = schema_of(self.types)
        return pa.record_batch([pa.array(c).cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def move(spread: Int64s, imbalance: Int64s, trend: Int64s, volume: Int64s) -> Doubles:
    """The next move of the price in ticks, rounded to six digits."""
    pull = np.tanh(0.35 * imbalance / spread)
    push = 0.3 * trend * np.log1p(volume) / np.sqrt(spread)
    return np.round(pull + push + 0.2 * np.sin(imbalance * trend), 6)
