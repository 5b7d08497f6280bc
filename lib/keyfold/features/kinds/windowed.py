"""A number over a row's own past: what `take` gives of the rows of its series in a frame, computed before all other features.

The column has the feature's name, in the feature table beside the rows; from there on it is a number like any other.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from keyfold.core.derived import Derived, raw_columns
from keyfold.core.types import MICROS
from keyfold.features.kind import FeatureInput
from keyfold.features.kinds.numeric import Numeric
from keyfold.windows.kernel import PLACES, Frame, Span, Take, Window
from keyfold.windows.tiles import TAKES

WINDOW_LENGTH = r"^(all|[1-9]\d{0,6} (row|minute|hour|day|week|month)s?)$"
Names = Annotated[list[str], BeforeValidator(lambda names: [names] if isinstance(names, str) else names)]


def parse_span(length: str) -> Span:
    """What a length such as `3 months` or `5 rows` stands for; `all` is everything so far."""
    if length == "all":
        return Span()
    number, unit = re.split(" ", length.removesuffix("s"))
    n = int(number)
    return Span(rows=n) if unit == "row" else Span(months=n) if unit == "month" else Span(micros=n * MICROS[unit])


class Windowed(Numeric):
    """A double: `take` of `input_col` over the rows [t - over, t) of the series, or with `current` over (t - over, t]."""

    by: Names | None = Field(None, description="names the series; []: the table is one; default: the key without data.time")
    order_by: Names = Field([], description="data.time, then what tells rows of one time apart")
    over: str = Field(
        pattern=WINDOW_LENGTH,
        examples=["7 days", "3 months", "5 rows", "all"],
        description="all: everything so far; days have 24 hours",
    )
    take: Take = Field(description="std is that of a sample, slope is per day, lag is the first row of a full frame")
    lag: str = Field("0 rows", pattern=r"^\d{1,7} (row|minute|hour|day|week|month)s?$", description="so late do values arrive")
    current: bool = Field(False, description="whether the row itself is in its frame")
    tile: Literal["hour", "day"] | None = Field(
        None, description="for long frames: sums whole tiles of UTC in place of their rows"
    )
    value: Any = Field(None, description="of `share`: the value whose share is taken")
    alpha: float | None = Field(None, gt=0, lt=1, description="of `ewm`: the weight of the newest row")
    min_count: int | None = Field(
        None, ge=1, description="fewer values give NULL; default: 1, or a full frame of rows for places"
    )
    column: str = Field("", description="default: the feature's name")

    @field_validator("over", "lag")
    @classmethod
    def _in_one_form(cls, length: str) -> str:
        return length if length == "all" or length.endswith("s") else f"{length}s"

    @model_validator(mode="after")
    def _fits(self) -> "Windowed":
        for option, take in (("value", "share"), ("alpha", "ewm")):
            if (getattr(self, option) is not None) != (self.take == take):
                raise ValueError(f"`{option}` is for take: {take}, which needs it (got take: {self.take})")
        if self.over == "all" and self.take in ("lag", "slope"):
            raise ValueError(f"take: {self.take} needs a frame that ends, such as `over: 5 rows` (got all)")
        if self.tile:
            self._fits_tile(MICROS[self.tile])
        return self

    def _fits_tile(self, width: int) -> None:
        over, lag = parse_span(self.over), parse_span(self.lag)
        if self.take not in TAKES:
            raise ValueError(f"`tile` is for take: {', '.join(TAKES)} (got {self.take}); leave it out")
        if over.months is None and (over.micros or 0) < width:
            raise ValueError(f"`tile` is for frames of a {self.tile} or more (got over: {self.over}); leave it out")
        if lag.rows:
            raise ValueError(f"`tile` needs a lag of time (got {self.lag}); leave it out, or say how long values take")

    def inputs(self) -> Sequence[str | Derived | FeatureInput]:
        """The column of the feature table."""
        return [self.column]

    @property
    def own(self) -> list[str]:
        """Of earlier rows none."""
        return list(raw_columns(self.input_col)) if self.current else []

    @property
    def made_of(self) -> str:
        """The window, in words."""
        return f"{self.take} of `{self.input_col}` over {self.over}; the feature table has it, and series.States gives it"

    def window(self, inputs: Sequence[tuple[str | Derived, Any]]) -> Window:
        """The window, where its value is one of these columns (or shares of a value)."""
        over, lag = parse_span(self.over), parse_span(self.lag)
        least = self.min_count or (over.rows if self.take in PLACES and over.rows else int(self.take != "count"))
        x = inputs.index((self.input_col, self.value))
        frame = Frame(over, lag, self.current, MICROS[self.tile] if self.tile else None)
        return Window(self.column, f"x{x}", self.take, frame, least, self.alpha or 0.5)
