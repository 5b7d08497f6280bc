"""A number, optionally scaled and clipped.

Spark and NumPy both compute (x - shift) * factor + offset in IEEE doubles, in this order, so their bits are equal. Mean and
deviation are exact sums that are rounded once; quantiles are those of `keyfold.core.quantiles`.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from keyfold.core import quantiles, sql
from keyfold.core.derived import InputColumn
from keyfold.core.types import NUMBERS, ArrowValue, SqlValue
from keyfold.errors import DataError, RowsError
from keyfold.features.fitting import CountedExpression, FeatureStatistics, FitInput, Stats, Target
from keyfold.features.kind import Array, FeatureOutput, Kind, State


class Numeric(Kind):
    """A number: unchanged, standardised, scaled to a range, or scaled by its quartiles.

    On the train fold, `standard` gives mean 0 and population standard deviation 1, `minmax` the range `to`, and `robust` median 0
    and interquartile range 1 (if the quartiles are equal, numbers are shifted and not scaled).

    Output: one number; float64 of shape (rows,).
    NULL: replaced according to `missing`, like NaN and infinity. -0.0 is 0.0.
    Unseen values: numbers outside the range of the train fold are scaled in the same manner; `clip` limits them.
    Errors: DataError if the train fold has no number, or if scaling would make a column that varies constant or infinite;
    RowsError for a missing value with `missing: error`.
    """

    takes: ClassVar = NUMBERS

    input_col: InputColumn
    scale: Literal["none", "standard", "minmax", "robust"] = Field(
        "none", description="standard: by mean and deviation; minmax: to the range `to`; robust: by median and quartiles"
    )
    to: tuple[float, float] = Field((0.0, 1.0), description="range [low, high] of scale: minmax on the train fold")
    clip: tuple[float, float] | None = Field(
        None, description="quantiles of the train fold to which smaller and larger numbers are set", examples=[[0.01, 0.99]]
    )
    missing: Literal["mean", "error"] | float = Field(
        "mean", description="replacement of missing values: the mean of the train fold, or a number; error: refuse the row"
    )

    @field_validator("to", "clip")
    @classmethod
    def _check_range(cls, to: tuple[float, float] | None) -> tuple[float, float] | None:
        if to and not to[0] < to[1]:
            raise ValueError(f"must be [low, high] with low below high (got {list(to)})")
        return to

    @field_validator("clip")
    @classmethod
    def _check_quantiles(cls, clip: tuple[float, float] | None) -> tuple[float, float] | None:
        if clip and not 0 <= clip[0] < clip[1] <= 1:
            raise ValueError(f"must be two quantiles between 0 and 1 (got {list(clip)})")
        return clip

    @property
    def needs_moments(self) -> bool:
        """Unless the column stays unchanged."""
        return self.scale != "none" or self.clip is not None or self.missing == "mean"

    def counted_expressions(self, values: Sequence[FitInput], target: Target | None) -> list[CountedExpression]:
        """The numbers, for quantiles."""
        return [CountedExpression.numbers(values[0])] if self.scale == "robust" or self.clip else []

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps shift, factor and offset; the replacement of missing values; the bounds of `clip`."""
        (stats,) = statistics.inputs
        if self.needs_moments and not stats["count"]:
            raise DataError(
                f"features.{name}: column `{self.inputs()[0]}` has no number in the train fold; leave the feature out"
            )
        low, high = stats.get("min", 0.0), stats.get("max", 0.0)
        if self.clip:
            lower, upper = self._quantiles(statistics, self.clip)
            stats = {**stats, "min": max(lower, low), "max": min(upper, high)}
        shift, factor, offset = self._line(stats, statistics)
        fill = stats["mean"] if self.missing == "mean" else None if self.missing == "error" else float(self.missing)
        if self.needs_moments and self._has_one_value(stats) and fill not in (None, low):
            factor = 1.0  # keeps missing values apart from the only value
        bounds = [stats["min"], stats["max"]] if self.clip else None
        state = {"shift": shift, "factor": factor, "offset": offset, "fill": fill, "bounds": bounds}
        if stats.get("varies"):
            self._refuse_constant(name, low, high, state)
        return state

    def is_constant(self, statistics: FeatureStatistics) -> bool:
        """Whether the column has one value, and missing values are replaced by the same."""
        stats = statistics.inputs[0]
        return self._has_one_value(stats) and self.missing in ("mean", "error", stats["min"])

    @staticmethod
    def _has_one_value(stats: Stats) -> bool:
        return stats.get("varies") is False

    def _quantiles(self, statistics: FeatureStatistics, shares: Sequence[float]) -> list[float]:
        (counts,) = statistics.counts
        return quantiles.quantiles_at(counts["value"].to_numpy(), counts["amount"].to_numpy(), shares)

    def _line(self, stats: Stats, statistics: FeatureStatistics) -> tuple[float, float, float]:
        """Shift, factor and offset."""
        varies = stats.get("varies", False)
        match self.scale:
            case "standard":
                return stats["mean"], _factor(1.0, stats["deviation"], varies), 0.0
            case "minmax":
                low, high = stats["min"], stats["max"]
                return low, _factor(self.to[1] - self.to[0], high - low, varies), self.to[0]
            case "robust":
                first, median, third = self._quantiles(statistics, (0.25, 0.5, 0.75))
                return median, _factor(1.0, third - first or 1.0, varies), 0.0
        return 0.0, 1.0, 0.0

    def _refuse_constant(self, name: str, low: float, high: float, state: State) -> None:
        """Raises DataError if the ends of the range [low, high] become equal or infinite. The feature is monotonic."""
        with np.errstate(all="ignore"):
            ends = _scaled(np.array([low, high]), state)
        if ends[0] < ends[1] < np.inf and ends[0] > -np.inf:
            return
        where = f"features.{name}: column `{self.inputs()[0]}`"
        if low == high:
            raise DataError(
                f"{where} has different values, but as doubles all are {low!r}; subtract a constant at ingest, or use it as a category"
            )
        if state["bounds"] and state["bounds"][0] >= state["bounds"][1]:
            raise DataError(
                f"{where} varies from {low!r} to {high!r}, but its quantiles {list(self.clip or ())} are both "
                f"{state['bounds'][0]!r}, so `clip` would make it constant; widen `clip`, or leave it out"
            )
        raise DataError(f"{where} varies from {low!r} to {high!r}, which a double cannot scale; convert it to another unit")

    def output(self, state: State) -> FeatureOutput:
        """One number."""
        return FeatureOutput("double")

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """double"""
        (value,) = values
        message = sql.text_literal(f"keyfold: column `{self.inputs()[0]}` {_MISSING}")
        fill = f"CAST(raise_error({message}) AS DOUBLE)" if state["fill"] is None else sql.double_literal(state["fill"])
        x = f"coalesce({value.number}, {fill})"
        if state["bounds"]:
            low, high = map(sql.double_literal, state["bounds"])
            x = f"least(greatest({x}, {low}), {high})"
        return f"(({x} - {sql.double_literal(state['shift'])}) * {sql.double_literal(state['factor'])} + {sql.double_literal(state['offset'])})"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float64 of shape (rows,)"""
        (value,) = values
        missing = np.isnan(value.number)
        if state["fill"] is None and missing.any():
            raise RowsError(f"column `{self.inputs()[0]}` {_MISSING}", missing)
        x = np.where(missing, state["fill"] if state["fill"] is not None else 0.0, value.number)
        with np.errstate(over="ignore"):  # numbers far outside the train fold may become infinite, as in Spark
            return _scaled(x, state)

    def note(self, state: State) -> str:
        """The formula, and the replacement of missing values."""
        fill = "refused" if state["fill"] is None else f"{state['fill']:.6g}"
        clipped = "x within [{:.6g}, {:.6g}]; ".format(*state["bounds"]) if state["bounds"] else ""
        return f"{clipped}(x - {state['shift']:.6g}) × {state['factor']:.6g} + {state['offset']:.6g}; missing: {fill}"


_MISSING = "has a missing value, and the conf says `missing: error`"


def _scaled(x: npt.NDArray[np.float64], state: State) -> npt.NDArray[np.float64]:
    if state["bounds"]:
        x = np.minimum(np.maximum(x, state["bounds"][0]), state["bounds"][1])
    return (x - state["shift"]) * state["factor"] + state["offset"]  # type: ignore[no-any-return]


def _factor(to: float, spread: float, varies: bool) -> float:
    """`to` / `spread`; 0 for a constant column."""
    with np.errstate(over="ignore", divide="ignore"):
        factor = float(np.float64(to) / np.float64(spread)) if varies else 0.0
    return factor if math.isfinite(factor) else 0.0
