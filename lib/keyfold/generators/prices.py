"""SYNTHETIC daily prices, unlike any market. Each change follows the mean of the last five, so the past predicts a little."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from keyfold.generators.drawing import random_stream, schema_of
from keyfold.generators.generator import Day, Generator

PULL = 0.5  # weight of the mean of the last five changes in the next one


class Prices(Generator):
    """Stock prices: one row per stock and working day, with the price and its change since the day before in percent."""

    generator: Literal["prices"] = Field(description="Name of the generator.")
    symbols: int = Field(5, ge=1, le=1_000_000, description="Number of stocks.")
    days: int = Field(1_000, ge=2, le=100_000, description="Number of working days, up to the end.")
    end: Day = Field("2026-10-30", examples=["2026-10-30"], description="Last day.")

    types: ClassVar = {"Date": "date", "stock": "string", "value": "double", "change": "double"}
    size: ClassVar = 1

    @property
    def things(self) -> int:
        """The number of symbols."""
        return self.symbols

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """All days of one symbol."""
        rng = random_stream(self.seed, number)
        noise, change = rng.standard_normal(self.days + 5), np.zeros(self.days + 5)
        for i in range(5, len(change)):
            change[i] = PULL * change[i - 5 : i].mean() + noise[i]
        change = change[5:]
        value = np.round(100 * np.exp(np.cumsum(change) / 100), 4)
        days = np.busday_offset(np.datetime64(self.end, "D"), np.arange(1 - self.days, 1), roll="backward")
        columns = [pa.array(days), pa.array([f"S{number:04}"] * self.days), pa.array(value), pa.array(np.round(change, 6))]
        return pa.record_batch(columns, schema=schema_of(self.types))
