"""Two or more values as one: the hash of their value hashes, in order. A hashed feature is a cross of one.

Bucket 0 where all inputs are NULL; one NULL among several is a value.
"""

from collections.abc import Sequence

from pydantic import Field

from keyfold.features.kind import Bucketed, FromFeature, Input


class Crossed(Bucketed):
    """An index in [0, num_buckets)."""

    input_cols: list[Input] = Field(min_length=2)

    def inputs(self) -> Sequence[str | FromFeature]:
        """The inputs, in the order of the conf, which matters."""
        return self.input_cols
