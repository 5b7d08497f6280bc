"""What the training loop needs of the processes that train together; another transport is another class in this file."""

import os
import time
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Ranks(Protocol):
    """Processes that train one network: this one is number `rank` of `size`."""

    rank: int
    size: int
    local: int  # among those of its host

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Puts the sums over all ranks in their place."""

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Puts those of rank 0 in their place."""


class Single:
    """One process by itself."""

    rank, size, local = 0, 1, 0

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """They are the sums."""

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """They are those of rank 0."""


class Horovod:
    """One of the processes that Horovod started."""

    def __init__(self, cycle: int = 10) -> None:
        """`cycle`: milliseconds between the talks of its threads, which take of the core that computes; HOROVOD_CYCLE_TIME is taken before."""
        os.environ.setdefault("HOROVOD_CYCLE_TIME", str(cycle))
        import horovod.torch as hvd

        hvd.init()
        self._hvd, self.rank, self.size, self.local = hvd, hvd.rank(), hvd.size(), hvd.local_rank()

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """One message for each type of number and device; what is on a GPU goes by the host's memory, which is what Gloo sees."""
        import torch

        handles, away = [], []
        for (kind, device), some in groupby(tensors, key=lambda t: (t.dtype, t.device)):
            same = list(some)
            if device.type != "cpu":
                whole = torch.cat([t.flatten() for t in same]).cpu()
                away.append((same, whole))
                same = [whole]
            # What has a name that was there before needs no talk of what it is.
            name = f"{kind}-{device}-{len(same)}-{sum(t.numel() for t in same)}"
            handles.append(self._hvd.grouped_allreduce_async_(same, op=self._hvd.Sum, name=name))
        self._wait(handles)
        for same, whole in away:
            for t, part in zip(same, whole.to(same[0].device).split([t.numel() for t in same]), strict=True):
                t.copy_(part.view_as(t))

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Of rank 0."""
        hosted = [t.cpu() for t in tensors]  # itself, where it is there
        handles = [self._hvd.broadcast_async_(t, 0, name=f"first-{i}-{t.numel()}") for i, t in enumerate(hosted)]
        self._wait(handles)
        for t, host in zip(tensors, hosted, strict=True):
            t.copy_(host)

    def _wait(self, handles: list[Any]) -> None:
        """Asleep, for Horovod's own way of waiting keeps the core busy that its thread needs."""
        for handle in handles:
            while not self._hvd.poll(handle):
                time.sleep(0.0003)
            self._hvd.synchronize(handle)
