"""Aggregate over earlier rows of the same series, such as the mean of the last three months.

Windows are computed before all other features and stored as columns of the feature table. From there, they are numbers like others.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from keyfold.core.derived import Derived, raw_columns
from keyfold.core.types import MICROS
from keyfold.features.kind import FeatureInput
from keyfold.features.kinds.numeric import Numeric
from keyfold.windows.frame_statistics import Frame, Span
from keyfold.windows.kernel import Window
from keyfold.windows.statistics import STATISTICS, TILED, Take

WINDOW_LENGTH = r"^(all|[1-9]\d{0,6} (row|minute|hour|day|week|month)s?)$"
Names = Annotated[list[str], BeforeValidator(lambda names: [names] if isinstance(names, str) else names)]


def parse_span(length: str) -> Span:
    """Parses a length such as `3 months` or `5 rows`; `all` is unbounded."""
    if length == "all":
        return Span()
    number, unit = re.split(" ", length.removesuffix("s"))
    n = int(number)
    return Span(rows=n) if unit == "row" else Span(months=n) if unit == "month" else Span(micros=n * MICROS[unit])


class Windowed(Numeric):
    """An aggregate over earlier rows of the same series, scaled like `numeric`.

    The frame of a row at time t is [t - over, t), or (t - over, t] with `current`; `lag` moves it into the past.
    Output: one number; float64 of shape (rows,).
    NULL: a frame with fewer than `min_count` values; replaced according to `missing`.
    Errors: those of `numeric`; ConfError if the windows of a conf differ in `by` or `order_by`.
    """

    by: Names | None = Field(
        None, description="columns that identify a series; []: the whole table is one series; default: the key without data.time"
    )
    order_by: Names = Field(
        [], description="columns that order a series: data.time, then columns that make the order of equal times unique"
    )
    over: str = Field(
        pattern=WINDOW_LENGTH,
        examples=["7 days", "3 months", "5 rows", "all"],
        description="length of the frame; all: from the start of the series. A day has 24 hours, also at clock changes",
    )
    take: Take = Field(
        description="aggregate; std is the sample deviation, slope is per day, lag is the first row of a full frame"
    )
    lag: str = Field(
        "0 rows", pattern=r"^\d{1,7} (row|minute|hour|day|week|month)s?$", description="delay after which values become known"
    )
    current: bool = Field(False, description="include the row itself in its frame")
    tile: Literal["hour", "day"] | None = Field(
        None, description="for long frames: add up precomputed sums of whole hours or days of UTC instead of rows"
    )
    value: Any = Field(None, description="for take: share, the value whose share of the rows is computed")
    alpha: float | None = Field(None, gt=0, lt=1, description="for take: ewm, the weight of the newest row")
    min_count: int | None = Field(
        None,
        ge=1,
        description="number of values below which the result is NULL; default: 1 (count: 0; lag, difference, return: a full frame)",
    )
    column: str = Field("", description="name of the column in the feature table; default: the feature's name")

    @field_validator("over", "lag")
    @classmethod
    def _normalise(cls, length: str) -> str:
        return length if length == "all" or length.endswith("s") else f"{length}s"

    @model_validator(mode="after")
    def _check_options(self) -> "Windowed":
        for option, take in (("value", "share"), ("alpha", "ewm")):
            if (getattr(self, option) is not None) != (self.take == take):
                raise ValueError(f"`{option}` is for take: {take}, which needs it (got take: {self.take})")
        if self.over == "all" and STATISTICS[self.take].running is None:
            raise ValueError(f"take: {self.take} needs a frame that ends, such as `over: 5 rows` (got all)")
        if self.tile:
            self._check_tile(MICROS[self.tile])
        return self

    def _check_tile(self, width: int) -> None:
        over, lag = parse_span(self.over), parse_span(self.lag)
        if self.take not in TILED:
            raise ValueError(f"`tile` is for take: {', '.join(TILED)} (got {self.take}); leave it out")
        if over.months is None and (over.micros or 0) < width:
            raise ValueError(f"`tile` is for frames of a {self.tile} or more (got over: {self.over}); leave it out")
        if lag.rows:
            raise ValueError(f"`tile` needs a lag of time (got {self.lag}); leave it out, or say how long values take")

    def inputs(self) -> Sequence[str | Derived | FeatureInput]:
        """The column of the feature table."""
        return [self.column]

    @property
    def row_columns(self) -> list[str]:
        """None, unless the row itself is in its frame."""
        return list(raw_columns(self.input_col)) if self.current else []

    @property
    def origin(self) -> str:
        """The window in words."""
        return f"{self.take} of `{self.input_col}` over {self.over}; the feature table has it, and series.States gives it"

    def window(self, inputs: Sequence[tuple[str | Derived, Any]]) -> Window:
        """The window over one of the series' inputs. `inputs`: (column, value for `share`) of each."""
        over, lag = parse_span(self.over), parse_span(self.lag)
        least = self.min_count or (over.rows if STATISTICS[self.take].full and over.rows else int(self.take != "count"))
        x = inputs.index((self.input_col, self.value))
        frame = Frame(over, lag, self.current, MICROS[self.tile] if self.tile else None)
        return Window(self.column, f"x{x}", self.take, frame, least, self.alpha or 0.5)
