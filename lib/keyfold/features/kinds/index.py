"""A category's place in a vocabulary, for an embedding: 0 is padding and NULL, 1 is unseen, then by frequency."""

from typing import ClassVar

from keyfold.features.kinds.one_hot import OneHot


class Index(OneHot):
    """An index in [0, size of the vocabulary + 2). It is `one_hot`'s; a model that embeds takes it as it is."""

    salt_prefix: ClassVar = "index"
