"""The label: its type and, for a class, its two values."""

from typing import Any, NamedTuple


class Label(NamedTuple):
    """The label: its type family and, for a class, its positive and its negative value."""

    family: str
    positive: Any = None
    negative: Any = None

    @property
    def classes(self) -> bool:
        """Whether the label is a class."""
        return self.negative is not None or self.positive is not None
