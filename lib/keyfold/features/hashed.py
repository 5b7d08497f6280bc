"""A value's bucket under the hash contract: no fitting, no vocabulary, any new value has its place.

Bucket 0 is NULL; all else, empty text too, falls into 1 … num_buckets - 1. Floats are refused.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from keyfold import hashing
from keyfold.features.kind import Input, Kind, State, Stats, int32
from keyfold.values import HASHED, ArrowValue, SparkValue

if TYPE_CHECKING:
    from pyspark.sql import Column


class Hashed(Kind):
    """An index in [0, num_buckets)."""

    takes: ClassVar = HASHED
    integers: ClassVar = True

    input_col: Input
    num_buckets: int = Field(ge=2, le=hashing.MAX_BUCKETS, description="bucket 0, for NULL, counts too")
    salt: str | None = Field(None, description="default: the feature's name")

    def fit(self, name: str, stats: Sequence[Stats]) -> State:
        """The salt, spelled out."""
        return {"salt": f"hashed:{name if self.salt is None else self.salt}"}

    def width(self, state: State) -> int:
        """The number of buckets."""
        return self.num_buckets

    def spark(self, values: Sequence[SparkValue], state: State) -> "Column":
        """int"""
        from pyspark.sql import functions as F

        h = hashing.spark_feature_hash(state["salt"], [v.hash for v in values])
        bucket = hashing.spark_reduce(h, self.num_buckets - 1) + F.lit(1)
        absent = values[0].null
        for value in values[1:]:
            absent = absent & value.null
        return F.when(absent, F.lit(0)).otherwise(bucket.cast("int"))

    def arrow(self, values: Sequence[ArrowValue], state: State) -> npt.NDArray[Any]:
        """int32"""
        h = hashing.feature_hash(state["salt"], [v.hash for v in values])
        bucket = hashing.reduce(h, self.num_buckets - 1) + 1
        absent = np.logical_and.reduce([v.null for v in values])
        return int32(np.where(absent, 0, bucket))

    def note(self, state: State) -> str:
        """The salt."""
        return f"salt {state['salt']}"
