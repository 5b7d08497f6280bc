"""A number as it is, standardised, brought to a range, or scaled by its quartiles.

Missing are NULL, NaN and the infinities; -0.0 is 0.0. Spark and NumPy both compute (x - shift) * factor + offset
in IEEE doubles, in this order, so the bits agree. Mean and deviation are exact sums, rounded once; quantiles are those of
`keyfold.core.quantiles`. A column that varies in the train fold is refused where the feature would not.
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
from keyfold.features.fitting import CountedExpression, FeatureStatistics, Stats, Target
from keyfold.features.kind import Array, FeatureOutput, Kind, State


class Numeric(Kind):
    """A double.

    On the train fold `standard` gives mean 0 and (population) deviation 1, `minmax` the range `to`, `robust` median 0 and an
    interquartile range of 1 (where the quartiles are equal, numbers are shifted and not scaled).
    """

    takes: ClassVar = NUMBERS

    input_col: InputColumn
    scale: Literal["none", "standard", "minmax", "robust"] = "none"
    to: tuple[float, float] = (0.0, 1.0)
    clip: tuple[float, float] | None = Field(
        None, description="quantiles of the train fold; what lies outside is put on them", examples=[[0.01, 0.99]]
    )
    missing: Literal["mean", "error"] | float = Field("mean", description="what stands in: the mean, a number, or an error")

    @field_validator("to", "clip")
    @classmethod
    def _rises(cls, to: tuple[float, float] | None) -> tuple[float, float] | None:
        if to and not to[0] < to[1]:
            raise ValueError(f"must be [low, high] with low below high (got {list(to)})")
        return to

    @field_validator("clip")
    @classmethod
    def _shares(cls, clip: tuple[float, float] | None) -> tuple[float, float] | None:
        if clip and not 0 <= clip[0] < clip[1] <= 1:
            raise ValueError(f"must be two quantiles between 0 and 1 (got {list(clip)})")
        return clip

    @property
    def numbers(self) -> bool:
        """Unless the column stays as it is."""
        return self.scale != "none" or self.clip is not None or self.missing == "mean"

    def counted(self, values: Sequence[SqlValue], target: Target | None) -> list[CountedExpression]:
        """The numbers, where quantiles are needed."""
        return [CountedExpression(values[0].number, cut=True)] if self.scale == "robust" or self.clip else []

    def fit(self, name: str, of: FeatureStatistics) -> State:
        """Shift, factor and offset; what stands in for a missing value; the bounds, where there are some."""
        (stats,) = of.inputs
        if self.numbers and not stats["count"]:
            raise DataError(
                f"features.{name}: column `{self.inputs()[0]}` has no number in the train fold; leave the feature out"
            )
        low, high = stats.get("min", 0.0), stats.get("max", 0.0)
        if self.clip:
            ends = self._quantiles(of, self.clip)
            stats = {**stats, "min": max(ends[0], low), "max": min(ends[1], high)}
        shift, factor, offset = self._line(stats, of)
        fill = stats["mean"] if self.missing == "mean" else None if self.missing == "error" else float(self.missing)
        if self.numbers and self._constant(stats) and fill not in (None, low):
            factor = 1.0  # so that what is missing is told from the one value that there is
        bounds = [stats["min"], stats["max"]] if self.clip else None
        state = {"shift": shift, "factor": factor, "offset": offset, "fill": fill, "bounds": bounds}
        if stats.get("varies"):
            self._refuse_constant(name, low, high, state)
        return state

    def constant(self, of: FeatureStatistics) -> bool:
        """Whether the column is, and what stands in for missing values."""
        stats = of.inputs[0]
        return self._constant(stats) and self.missing in ("mean", "error", stats["min"])

    @staticmethod
    def _constant(stats: Stats) -> bool:
        return stats.get("varies") is False

    def _quantiles(self, of: FeatureStatistics, shares: Sequence[float]) -> list[float]:
        (counts,) = of.counts
        return quantiles.quantiles_at(counts["value"].to_numpy(), counts["amount"].to_numpy(), shares)

    def _line(self, stats: Stats, of: FeatureStatistics) -> tuple[float, float, float]:
        varies = stats.get("varies", False)
        match self.scale:
            case "standard":
                return stats["mean"], _factor(1.0, stats["deviation"], varies), 0.0
            case "minmax":
                low, high = stats["min"], stats["max"]
                return low, _factor(self.to[1] - self.to[0], high - low, varies), self.to[0]
            case "robust":
                first, median, third = self._quantiles(of, (0.25, 0.5, 0.75))
                return median, _factor(1.0, third - first or 1.0, varies), 0.0
        return 0.0, 1.0, 0.0

    def _refuse_constant(self, name: str, low: float, high: float, state: State) -> None:
        """DataError where what varies from `low` to `high` would be the same everywhere, or infinite: the feature grows with x."""
        with np.errstate(all="ignore"):
            ends = _scaled(np.array([low, high]), state)
        if ends[0] < ends[1] < np.inf and ends[0] > -np.inf:
            return
        where = f"features.{name}: column `{self.inputs()[0]}`"
        if low == high:
            raise DataError(
                f"{where} has different values, but as doubles all are {low!r}; subtract a constant at ingest, or take it as a category"
            )
        if state["bounds"] and state["bounds"][0] >= state["bounds"][1]:
            raise DataError(
                f"{where} varies from {low!r} to {high!r}, but its quantiles {list(self.clip or ())} are both "
                f"{state['bounds'][0]!r}, so `clip` would make it constant; widen `clip`, or leave it out"
            )
        raise DataError(f"{where} varies from {low!r} to {high!r}, which a double cannot scale; give it in another unit")

    def out(self, state: State) -> FeatureOutput:
        """A double."""
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
        """float64"""
        (value,) = values
        missing = np.isnan(value.number)
        if state["fill"] is None and missing.any():
            raise RowsError(f"column `{self.inputs()[0]}` {_MISSING}", missing)
        x = np.where(missing, state["fill"] if state["fill"] is not None else 0.0, value.number)
        with np.errstate(over="ignore"):  # what is far beyond the train fold may become infinite, as in Spark
            return _scaled(x, state)

    def note(self, state: State) -> str:
        """How a value is scaled and filled."""
        fill = "refused" if state["fill"] is None else f"{state['fill']:.6g}"
        clipped = "x within [{:.6g}, {:.6g}]; ".format(*state["bounds"]) if state["bounds"] else ""
        return f"{clipped}(x - {state['shift']:.6g}) × {state['factor']:.6g} + {state['offset']:.6g}; missing: {fill}"


_MISSING = "has a missing value, and the conf says `missing: error`"


def _scaled(x: npt.NDArray[np.float64], state: State) -> npt.NDArray[np.float64]:
    if state["bounds"]:
        x = np.minimum(np.maximum(x, state["bounds"][0]), state["bounds"][1])
    return (x - state["shift"]) * state["factor"] + state["offset"]  # type: ignore[no-any-return]


def _factor(to: float, spread: float, varies: bool) -> float:
    """0 for what does not vary."""
    with np.errstate(over="ignore", divide="ignore"):
        factor = float(np.float64(to) / np.float64(spread)) if varies else 0.0
    return factor if math.isfinite(factor) else 0.0
