"""Index of a category in a fitted vocabulary, for an embedding layer."""

from typing import ClassVar

from keyfold.features.kinds.one_hot import OneHot


class Index(OneHot):
    """The index of a category in a fitted vocabulary, for an embedding layer.

    The values are those of `one_hot`: 0 is NULL (and padding), 1 is unseen, then by frequency.
    Output: one index in [0, size of the vocabulary + 2); int32 of shape (rows,).
    """

    salt_prefix: ClassVar = "index"
