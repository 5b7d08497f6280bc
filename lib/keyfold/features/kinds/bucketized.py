"""Range of a number, between given boundaries or quantiles of the train fold."""

import itertools
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from keyfold.core import quantiles, sql
from keyfold.core.derived import InputColumn
from keyfold.core.types import NUMBERS, ArrowValue, SqlValue
from keyfold.errors import DataError
from keyfold.features.fitting import CountedExpression, FeatureStatistics, FitInput, Target
from keyfold.features.kind import Array, FeatureOutput, Kind, State, as_int32


class Bucketized(Kind):
    """The range of a number, between given boundaries or quantiles of the train fold.

    Index 1 is below the first boundary, index 2 starts at the first boundary, and so on: a boundary belongs to the range above it.
    Output: one index in [0, number of boundaries + 2); int32 of shape (rows,).
    NULL: index 0, like NaN and infinity.
    Errors: DataError if `num_buckets` is set and the train fold has no number.
    """

    takes: ClassVar = NUMBERS

    input_col: InputColumn
    boundaries: list[Annotated[float, Field(allow_inf_nan=False)]] | None = Field(
        None, min_length=1, max_length=1000, description="ascending boundaries of the ranges", examples=[[0, 10, 100]]
    )
    num_buckets: int | None = Field(
        None, ge=2, le=1000, description="number of ranges with about the same number of rows; fewer if values repeat"
    )

    @field_validator("boundaries")
    @classmethod
    def _check_ascending(cls, boundaries: list[float] | None) -> list[float] | None:
        if boundaries and any(a >= b for a, b in itertools.pairwise(boundaries)):
            raise ValueError(f"must be ascending (got {boundaries})")
        return boundaries

    @model_validator(mode="after")
    def _check_one_option(self) -> "Bucketized":
        if (self.boundaries is None) == (self.num_buckets is None):
            raise ValueError("must have either `boundaries` or `num_buckets`")
        return self

    def counted_expressions(self, values: Sequence[FitInput], target: Target | None) -> list[CountedExpression]:
        """The numbers, for quantiles."""
        return [CountedExpression.numbers(values[0])] if self.num_buckets else []

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps the boundaries."""
        if self.boundaries:
            return {"boundaries": [b + 0.0 for b in self.boundaries]}
        (counts,) = statistics.counts
        if not counts.num_rows:
            raise DataError(f"features.{name}: column `{self.input_col}` has no number in the train fold; leave the feature out")
        n = self.num_buckets or 0
        values = counts["value"].to_numpy()
        boundaries = set(quantiles.quantiles_at(values, counts["amount"].to_numpy(), [i / n for i in range(1, n)]))
        if len(values) > 1 and boundaries == {values.min()}:  # all rows would be in one range
            boundaries = {np.sort(values)[1]}
        return {"boundaries": sorted(map(float, boundaries))}

    def is_constant(self, statistics: FeatureStatistics) -> bool:
        """Whether `num_buckets` is set and all numbers are equal."""
        return bool(statistics.counts) and statistics.counts[0].num_rows == 1

    def output(self, state: State) -> FeatureOutput:
        """One index."""
        return FeatureOutput("int", len(state["boundaries"]) + 2)

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int"""
        x = values[0].number
        return f"CASE WHEN ({x}) IS NULL THEN 0 ELSE {_search(f'({x})', state['boundaries'], 1)} END"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32 of shape (rows,)"""
        x = values[0].number
        return as_int32(np.where(np.isnan(x), 0, np.searchsorted(state["boundaries"], x, side="right") + 1))

    def note(self, state: State) -> str:
        """The boundaries."""
        shown = [f"{b:.6g}" for b in state["boundaries"][:8]]
        return "from " + ", ".join(shown) + (" …" if len(state["boundaries"]) > len(shown) else "")


def _search(x: str, boundaries: Sequence[float], first: int) -> str:
    """SQL bisection: `first` plus the number of boundaries that are at most x."""
    if not boundaries:
        return str(first)
    half = len(boundaries) // 2
    below, above = _search(x, boundaries[:half], first), _search(x, boundaries[half + 1 :], first + half + 1)
    return f"IF({x} < {sql.double_literal(boundaries[half])}, {below}, {above})"
