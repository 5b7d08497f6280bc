"""Two or more values as one: the hash of their value hashes, in order. A hashed feature is a cross of one."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from keyfold import hashing
from keyfold.features.hashed import Hashed
from keyfold.features.kind import FromFeature, Input, Kind, State, Stats
from keyfold.values import HASHED


class Crossed(Kind):
    """An index in [0, num_buckets); bucket 0 where all inputs are NULL, and one NULL among several is a value."""

    takes: ClassVar = HASHED
    integers: ClassVar = True

    input_cols: list[Input] = Field(min_length=2)
    num_buckets: int = Field(ge=2, le=hashing.MAX_BUCKETS, description="bucket 0, for NULL, counts too")
    salt: str | None = Field(None, description="default: the feature's name")

    def inputs(self) -> Sequence[str | FromFeature]:
        """The inputs, in the order of the conf, which matters."""
        return self.input_cols

    def fit(self, name: str, stats: Sequence[Stats]) -> State:
        """The salt, spelled out."""
        return {"salt": f"crossed:{name if self.salt is None else self.salt}"}

    width = Hashed.width  # type: ignore[assignment]
    spark = Hashed.spark  # type: ignore[assignment]
    arrow = Hashed.arrow  # type: ignore[assignment]
    note = Hashed.note
