"""What the training loop needs of the processes that train together; another transport is another class in this file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Ranks(Protocol):
    """Processes that train one network: this one is number `rank` of `size`."""

    rank: int
    size: int

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Puts the sums over all ranks in their place."""

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Puts those of rank 0 in their place."""


class Single:
    """One process by itself."""

    rank, size = 0, 1

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """They are the sums."""

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """They are those of rank 0."""
