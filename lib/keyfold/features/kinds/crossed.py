"""Combination of two or more values, as one index."""

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
    """The combination of two or more values, hashed to a bucket or with an index of its own.

    With a number of buckets: the hash of the inputs in order. `hashed` is the same for a single input.
    With `num_buckets: exact`: all inputs are features with one index, and each combination has its own index.

    Output: one index in [0, num_buckets), or in [0, product of the widths of the inputs); int32 of shape (rows,).
    NULL: bucket 0 if all inputs are NULL; otherwise NULL is a value like others.
    Unseen values: as in `hashed`; an exact cross has the indices for unseen values of its inputs.
    Errors: DataError for a column of floats; ConfError for an exact cross of a column, or of too many combinations.
    """

    salt_prefix: ClassVar = "crossed"

    input_cols: list[Input] = Field(
        min_length=2,
        description="columns or features to combine; the order matters",
        examples=[["city", {"feature": "age_range"}]],
    )
    num_buckets: Literal["exact"] | Annotated[int, Field(ge=2, le=hashing.MAX_BUCKETS)] = Field(  # type: ignore[assignment]
        description="number of buckets, including bucket 0 for NULL; or exact: one index per combination of features"
    )

    def inputs(self) -> Sequence[str | Derived | FeatureInput]:
        """The inputs, in the order of the conf."""
        return self.input_cols

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps the salt, or the width of each input."""
        if self.num_buckets != "exact":
            return super().fit(name, statistics)
        widths = [stats.get("width") for stats in statistics.inputs]
        if None in widths:
            column = self.input_cols[widths.index(None)]
            raise ConfError(
                f"features.{name}: an exact cross takes features, whose number of values is known; `{column}` is a column. "
                "Write {feature: …}, or set num_buckets to a number"
            )
        combinations = math.prod(map(int, widths))  # type: ignore[arg-type]
        if combinations > hashing.MAX_BUCKETS:
            raise ConfError(f"features.{name}: an exact cross would have {combinations:,} values; set num_buckets to a number")
        return {"widths": widths}

    def output(self, state: State) -> FeatureOutput:
        """One index."""
        return FeatureOutput("int", math.prod(state["widths"])) if self.num_buckets == "exact" else super().output(state)

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int"""
        if self.num_buckets != "exact":
            return super().sql(values, state)
        index = reduce(lambda a, b: f"({a} * {b[1]}L + {b[0].column})", zip(values, state["widths"], strict=True), "0L")
        return f"CAST({index} AS INT)"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32 of shape (rows,)"""
        if self.num_buckets != "exact":
            return super().arrow(values, state)
        arrays = [v.array.to_numpy(zero_copy_only=False) for v in values]
        return as_int32(np.asarray(reduce(lambda a, b: a * b[1] + b[0], zip(arrays, state["widths"], strict=True), np.int64(0))))

    def note(self, state: State) -> str:
        """The salt, or the widths of the inputs."""
        return " × ".join(map(str, state["widths"])) if self.num_buckets == "exact" else super().note(state)
