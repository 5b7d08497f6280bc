"""Two or more values as one: the hash of their value hashes, in order. A hashed feature is a cross of one.

Bucket 0 where all inputs are NULL; one NULL among several is a value. With `num_buckets: exact` each combination of the
indices of other features has its own place, and none is shared.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from keyfold.core import hashing
from keyfold.core.derived import Derived
from keyfold.core.types import ArrowValue, SqlValue
from keyfold.errors import ConfError
from keyfold.features.fitting import FeatureStatistics
from keyfold.features.kind import Array, Bucketed, FeatureInput, FeatureOutput, Input, State, as_int32


class Crossed(Bucketed):
    """An index in [0, num_buckets)."""

    salt_prefix: ClassVar = "crossed"

    input_cols: list[Input] = Field(min_length=2)
    num_buckets: Literal["exact"] | Annotated[int, Field(ge=2, le=hashing.MAX_BUCKETS)] = Field(  # type: ignore[assignment]
        description="bucket 0, for NULL, counts too; or `exact`, for a small product of features"
    )

    def inputs(self) -> Sequence[str | Derived | FeatureInput]:
        """The inputs, in the order of the conf, which matters."""
        return self.input_cols

    def fit(self, name: str, of: FeatureStatistics) -> State:
        """The salt, or the number of values of each input (ConfError where there are too many, or an input has none)."""
        if self.num_buckets != "exact":
            return super().fit(name, of)
        widths = [stats.get("width") for stats in of.inputs]
        if None in widths:
            column = self.input_cols[widths.index(None)]
            raise ConfError(
                f"features.{name}: an exact cross takes features, whose number of values is known; `{column}` is a column. "
                "Give {feature: …}, or a number of buckets"
            )
        if math.prod(map(int, widths)) > hashing.MAX_BUCKETS:  # type: ignore[arg-type]
            raise ConfError(f"features.{name}: an exact cross would have {math.prod(widths):,} values; give a number of buckets")  # type: ignore[arg-type]
        return {"widths": widths}

    def out(self, state: State) -> FeatureOutput:
        """An index."""
        return FeatureOutput("int", math.prod(state["widths"])) if self.num_buckets == "exact" else super().out(state)

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int"""
        if self.num_buckets != "exact":
            return super().sql(values, state)
        place = reduce(lambda a, b: f"({a} * {b[1]}L + {b[0].column})", zip(values, state["widths"], strict=True), "0L")
        return f"CAST({place} AS INT)"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32"""
        if self.num_buckets != "exact":
            return super().arrow(values, state)
        arrays = [v.array.to_numpy(zero_copy_only=False) for v in values]
        return as_int32(np.asarray(reduce(lambda a, b: a * b[1] + b[0], zip(arrays, state["widths"], strict=True), np.int64(0))))

    def note(self, state: State) -> str:
        """The salt, or the shape."""
        return " × ".join(map(str, state["widths"])) if self.num_buckets == "exact" else super().note(state)
