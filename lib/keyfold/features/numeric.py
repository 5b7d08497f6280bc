"""A number as it is, standardised, or brought to a range.

Missing are NULL, NaN and the infinities; -0.0 is 0.0. Spark and NumPy both compute (x - shift) * factor + offset
in IEEE doubles, in this order, so the bits agree.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from keyfold.errors import DataError
from keyfold.features.kind import Kind, State, Stats
from keyfold.values import NUMBERS, ArrowValue, SparkValue

if TYPE_CHECKING:
    from pyspark.sql import Column


class Numeric(Kind):
    """A double. `standard` gives mean 0 and (population) deviation 1, `minmax` the range `to`, on the train fold."""

    takes: ClassVar = NUMBERS
    integers: ClassVar = False
    statistics: ClassVar = ("count", "extremes", "moments")

    input_col: str
    scale: Literal["none", "standard", "minmax"] = "none"
    to: tuple[float, float] = (0.0, 1.0)
    missing: Literal["mean", "error"] | float = Field("mean", description="what stands in: the mean, a number, or an error")

    @field_validator("to")
    @classmethod
    def _rises(cls, to: tuple[float, float]) -> tuple[float, float]:
        if not to[0] < to[1]:
            raise ValueError(f"must be [low, high] with low below high (got {list(to)})")
        return to

    def fit(self, name: str, stats: Sequence[Stats]) -> State:
        """Shift, factor and offset; and what stands in for a missing value."""
        (of,) = stats
        if not of["count"]:
            raise DataError(f"features.{name}: column `{self.input_col}` has no number in the train fold; leave the feature out")
        shift, factor, offset = self._line(of)
        fill = of["mean"] if self.missing == "mean" else None if self.missing == "error" else float(self.missing)
        return {"shift": shift, "factor": factor, "offset": offset, "fill": fill}

    def _line(self, of: Stats) -> tuple[float, float, float]:
        low, high = of["min"], of["max"]
        match self.scale:
            case "standard":
                return of["mean"], 1.0 / of["deviation"] if of["deviation"] else 0.0, 0.0
            case "minmax":
                return low, (self.to[1] - self.to[0]) / (high - low) if high > low else 0.0, self.to[0]
        return 0.0, 1.0, 0.0

    def spark(self, values: Sequence[SparkValue], state: State) -> "Column":
        """double"""
        from pyspark.sql import functions as F

        (value,) = values
        fill = _spark_error(self.input_col) if state["fill"] is None else F.lit(state["fill"])
        x = F.coalesce(value.number, fill)
        return (x - F.lit(state["shift"])) * F.lit(state["factor"]) + F.lit(state["offset"])

    def arrow(self, values: Sequence[ArrowValue], state: State) -> npt.NDArray[Any]:
        """float64"""
        (value,) = values
        missing = np.isnan(value.number)
        if state["fill"] is None and missing.any():
            raise DataError(f"column `{self.input_col}` {_MISSING}")
        x = np.where(missing, state["fill"] if state["fill"] is not None else 0.0, value.number)
        return (x - state["shift"]) * state["factor"] + state["offset"]  # type: ignore[no-any-return]

    def note(self, state: State) -> str:
        """How a value is scaled and filled."""
        fill = "refused" if state["fill"] is None else f"{state['fill']:.6g}"
        return f"(x - {state['shift']:.6g}) × {state['factor']:.6g} + {state['offset']:.6g}; missing: {fill}"


_MISSING = "has a missing value, and the conf says `missing: error`"


def _spark_error(column: str) -> "Column":
    from pyspark.sql import functions as F

    return F.raise_error(F.lit(f"keyfold: column `{column}` {_MISSING}")).cast("double")
