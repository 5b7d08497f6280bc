"""Bucket of a value by its hash. Nothing is fitted."""

from typing import ClassVar

from keyfold.features.kind import Bucketed, Input


class Hashed(Bucketed):
    """The bucket of a value by its hash, without a vocabulary.

    Output: one index in [0, num_buckets); int32 of shape (rows,).
    NULL: bucket 0. The empty text is a value like others.
    Unseen values: every value has a bucket in [1, num_buckets). Different values may share one; the report counts collisions.
    Errors: DataError for a column of floats.
    """

    salt_prefix: ClassVar = "hashed"

    input_col: Input
