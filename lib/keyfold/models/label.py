"""What is predicted: the type of the label and, for a class, its two values."""

from typing import Any, NamedTuple


class Label(NamedTuple):
    """What is predicted: the type family, and for a class its positive and its negative value."""

    family: str
    positive: Any = None
    negative: Any = None

    @property
    def classes(self) -> bool:
        """Whether it is a class."""
        return self.negative is not None or self.positive is not None
