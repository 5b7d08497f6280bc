"""What a kind of feature is: conf fields, what it must know to be fitted, and its value in Spark and in Arrow."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from keyfold import hashing
from keyfold.section import Section
from keyfold.values import HASHED, ArrowValue, SparkValue

if TYPE_CHECKING:
    from pyspark.sql import Column

State = dict[str, Any]  # JSON
Stats = Mapping[str, Any]  # statistics of one input, by name (see `keyfold.fitting`)


class FromFeature(Section):
    """An input that is another feature's integers."""

    feature: str


Input = Annotated[str | FromFeature, Field(description="a column's name, or {feature: name}")]


class Kind(Section):
    """A kind of feature. Its file is named as the conf names it; the class is found there."""

    takes: ClassVar[tuple[str, ...]]  # type families, see `keyfold.values`
    integers: ClassVar[bool]  # whether it yields an index in [0, width), or a double
    statistics: ClassVar[tuple[str, ...]] = ()  # that `fit` needs of each column

    def inputs(self) -> Sequence[str | FromFeature]:
        """The columns and features it takes, in order."""
        return [self.input_col]  # type: ignore[attr-defined]

    def fit(self, name: str, stats: Sequence[Stats]) -> State:
        """What to keep of the training rows, as JSON, from the statistics of each input."""
        raise NotImplementedError

    def width(self, state: State) -> int:
        """Columns that it takes in a matrix: the number of values of an index, or 1."""
        return 1

    def spark(self, values: Sequence[SparkValue], state: State) -> "Column":
        """The feature as a Column: int or double, never NULL."""
        raise NotImplementedError

    def arrow(self, values: Sequence[ArrowValue], state: State) -> npt.NDArray[Any]:
        """The same as an array: int32 or float64."""
        raise NotImplementedError

    def note(self, state: State) -> str:
        """What a person should know of the fitted feature, in a few words."""
        return ""


def int32(array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """The type of every index."""
    return array.astype(np.int32)


class Bucketed(Kind):
    """A kind that yields the bucket of its inputs, an index in [0, num_buckets), under the hash contract."""

    takes: ClassVar = HASHED
    integers: ClassVar = True

    num_buckets: int = Field(ge=2, le=hashing.MAX_BUCKETS, description="bucket 0, for NULL, counts too")
    salt: str | None = Field(None, description="default: the feature's name")

    def fit(self, name: str, stats: Sequence[Stats]) -> State:
        """The salt, spelled out."""
        return {"salt": f"{type(self).__name__.lower()}:{name if self.salt is None else self.salt}"}

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
