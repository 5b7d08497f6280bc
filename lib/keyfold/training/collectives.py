"""What the training loop needs of the processes that train together: sums over all, and the tensors of the first."""

import time
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Collective(Protocol):
    """Processes that train one network: this one is number `rank` of `size`."""

    rank: int
    size: int
    local: int  # among those of its host

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Puts the sums over all ranks in their place."""

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Puts those of rank 0 in their place."""


class SingleProcess:
    """One process by itself."""

    rank, size, local = 0, 1, 0

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """They are the sums."""

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """They are those of rank 0."""


class Horovod:
    """One of the processes that Horovod started; sums and broadcasts are Horovod's own (its HorovodInternalError where a process is lost)."""

    def __init__(self) -> None:
        import horovod.torch as hvd

        hvd.init()
        self._hvd, self.rank, self.size, self.local = hvd, hvd.rank(), hvd.size(), hvd.local_rank()

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Sums tensors of each type and device as one group. Tensors on a GPU go through the host's memory unless Horovod has NCCL."""
        hosted = self._hosted(tensors)
        groups = [list(some) for _, some in groupby(hosted, key=lambda t: (t.dtype, t.device))]
        # A name that was there before lets Horovod skip its negotiation.
        names = [f"{some[0].dtype}-{some[0].device}-{len(some)}-{sum(t.numel() for t in some)}" for some in groups]
        self._wait(
            [
                self._hvd.grouped_allreduce_async_(some, op=self._hvd.Sum, name=name)
                for some, name in zip(groups, names, strict=True)
            ]
        )
        _copy_back(tensors, hosted)

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Sends the tensors of rank 0 to all ranks."""
        hosted = self._hosted(tensors)
        self._wait([self._hvd.broadcast_async_(t, 0, name=f"first-{i}-{t.numel()}") for i, t in enumerate(hosted)])
        _copy_back(tensors, hosted)

    def _hosted(self, tensors: "Sequence[Tensor]") -> "list[Tensor]":
        """The tensors where Horovod can reach them; a tensor that is already there is itself."""
        return [t.contiguous() if self._hvd.nccl_built() else t.cpu().contiguous() for t in tensors]

    def _wait(self, handles: list[Any]) -> None:
        """Sleeps between polls: Horovod's own wait keeps busy the core that its background thread needs."""
        for handle in handles:
            while not self._hvd.poll(handle):
                time.sleep(0.0003)
            self._hvd.synchronize(handle)


def _copy_back(tensors: "Sequence[Tensor]", hosted: "Sequence[Tensor]") -> None:
    for t, host in zip(tensors, hosted, strict=True):
        if host is not t:
            t.copy_(host)
