"""A value's bucket under the hash contract: no fitting, no vocabulary, any new value has its place.

Bucket 0 is NULL; all else, empty text too, falls into 1 … num_buckets - 1. Floats are refused.
"""

from typing import ClassVar

from keyfold.features.kind import Bucketed, Input


class Hashed(Bucketed):
    """An index in [0, num_buckets)."""

    salt_prefix: ClassVar = "hashed"

    input_col: Input
