"""Index of a category in a fitted vocabulary, for an embedding layer."""

from typing import ClassVar

from keyfold.features.kinds.one_hot import OneHot


class Index(OneHot):
    """The index of a category in a fitted vocabulary, for an embedding layer.

    The options and values are those of `one_hot`.
    Output: one index in [0, size of the vocabulary + 2), plus the indices for hashed unseen values; int32 of shape (rows,).
    NULL: index 0.
    Unseen values: index 1; see `handle_unseen`.
    Errors: RowsError for an unseen value with `handle_unseen: error`; DataError for a column of floats.
    """

    salt_prefix: ClassVar = "index"
