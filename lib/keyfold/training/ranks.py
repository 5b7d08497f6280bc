"""What the training loop needs of the processes that train together; another transport is another class in this file."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

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
    """One of the processes that Horovod started.

    Once they have met, sums go by torch's own Gloo, which waits asleep: Horovod's threads talk all the time, and take of the cores that compute.
    """

    def __init__(self) -> None:
        """Meets the others."""
        import horovod.torch as hvd
        import torch.distributed

        hvd.init()
        self.rank, self.size, self.local = hvd.rank(), hvd.size(), hvd.local_rank()
        interface = os.environ["HOROVOD_GLOO_IFACE"]
        os.environ["GLOO_SOCKET_IFNAME"] = interface
        wait = timedelta(seconds=int(os.environ["HOROVOD_GLOO_TIMEOUT_SECONDS"]))
        host, port, store = _address(interface), 0, None
        if not self.rank:
            store = torch.distributed.TCPStore(host, 0, self.size, is_master=True, timeout=wait, wait_for_workers=False)
            port = store.port
        host, port = hvd.broadcast_object((host, port), 0)
        store = store or torch.distributed.TCPStore(host, port, self.size, is_master=False, timeout=wait)
        torch.distributed.init_process_group("gloo", store=store, rank=self.rank, world_size=self.size, timeout=wait)
        hvd.shutdown()

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """One message for each type of number and device (SilentError); what is on a GPU goes by the host's memory."""
        import torch

        parts = [list(some) for _, some in groupby(tensors, key=lambda t: (t.dtype, t.device))]
        messages = [torch.cat([t.flatten() for t in same]).cpu() for same in parts]
        with _answered():
            for sent in [torch.distributed.all_reduce(whole, async_op=True) for whole in messages]:
                sent.wait()
        for same, whole in zip(parts, messages, strict=True):
            for t, part in zip(same, whole.to(same[0].device).split([t.numel() for t in same]), strict=True):
                t.copy_(part.view_as(t))

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """Of rank 0 (SilentError)."""
        import torch

        for t in tensors:
            host = t.cpu().contiguous()  # itself, where it is there
            with _answered():
                torch.distributed.broadcast(host, 0)
            t.copy_(host)


class SilentError(Exception):
    """A process has died, or does not answer in time."""


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # Gloo's, of whatever reason
        raise SilentError(str(error)) from error


def _address(interface: str) -> str:
    import psutil

    return next(a.address for a in psutil.net_if_addrs()[interface] if a.family == socket.AF_INET)
