"""Collective operations over the processes that train one network: sums over all, and broadcasts from the first."""

import time
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class SingleProcess:
    """One process without others: number `rank` of `size`, and number `local` of those on its host."""

    rank, size, local = 0, 1, 0

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Sums tensors over all ranks, in place."""

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Copies the tensors of rank 0 to all ranks, in place."""


class Horovod(SingleProcess):
    """One of the processes that Horovod started. Operations raise HorovodInternalError if a process is lost."""

    def __init__(self) -> None:
        import horovod.torch as hvd

        hvd.init()
        self._hvd, self.rank, self.size, self.local = hvd, hvd.rank(), hvd.size(), hvd.local_rank()

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Sums the tensors of each type and device as one group. Those on a GPU go through host memory unless Horovod has NCCL."""
        hosted = self._hosted(tensors)
        groups = [list(group) for _, group in groupby(hosted, key=lambda t: (t.dtype, t.device))]
        # Horovod skips its negotiation for a name that it has seen before.
        names = [f"{group[0].dtype}-{group[0].device}-{len(group)}-{sum(t.numel() for t in group)}" for group in groups]
        allreduce, op = self._hvd.grouped_allreduce_async_, self._hvd.Sum
        self._wait([allreduce(group, op=op, name=name) for group, name in zip(groups, names, strict=True)])
        _copy_back(tensors, hosted)

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Copies the tensors of rank 0 to all ranks, in place."""
        hosted = self._hosted(tensors)
        self._wait([self._hvd.broadcast_async_(t, 0, name=f"first-{i}-{t.numel()}") for i, t in enumerate(hosted)])
        _copy_back(tensors, hosted)

    def _hosted(self, tensors: "Sequence[Tensor]") -> "list[Tensor]":
        """The tensors where Horovod can reach them; one that it can reach already is not copied."""
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
