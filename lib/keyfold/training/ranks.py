"""What the training loop needs of the processes that train together; another transport is another class in this file."""

import hmac
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from select import select
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


class Ring:
    """Processes of which each has a socket to the next one, and one from that before; it waits for so many seconds for each.

    The loop itself sends and receives. Threads of a transport, as those of Horovod and Gloo, must be woken in each step, and that takes
    milliseconds where every core computes.
    """

    def __init__(self, rank: int, size: int, local: int, after: socket.socket, before: socket.socket, wait: int) -> None:
        """As they have met."""
        self.rank, self.size, self.local = rank, size, local
        self._after, self._before, self._wait = after, before, wait
        for end in (after, before):
            end.setblocking(False)

    @classmethod
    def of_horovod(cls) -> "Ring":
        """Of the processes that Horovod started, which is at rest from then on (SilentError)."""
        import horovod.torch as hvd

        hvd.init()
        rank, size, local = hvd.rank(), hvd.size(), hvd.local_rank()
        wait = int(os.environ["HOROVOD_GLOO_TIMEOUT_SECONDS"])
        with _answered(), socket.create_server((_address(os.environ["HOROVOD_GLOO_IFACE"]), 0)) as server:
            server.settimeout(wait)
            word = secrets.token_bytes(32)  # which a caller must know
            address, theirs = hvd.allgather_object((server.getsockname(), word))[(rank + 1) % size]
            after = socket.create_connection(address, wait)
            after.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            after.sendall(theirs)
            before = _caller(server, word, wait)
        hvd.shutdown()
        return cls(rank, size, local, after, before, wait)

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """One message for each type of number and device (SilentError); what is on a GPU goes by the host's memory."""
        import torch

        for _, some in groupby(tensors, key=lambda t: (t.dtype, t.device)):
            same = list(some)
            whole = torch.cat([t.flatten() for t in same]).cpu()
            with _answered():
                self._add(whole)
            for t, part in zip(same, whole.to(same[0].device).split([t.numel() for t in same]), strict=True):
                t.copy_(part.view_as(t))

    def broadcast(self, tensors: "Sequence[Tensor]") -> None:
        """As the sum of them and nothing (SilentError)."""
        for t in tensors if self.rank else ():
            t.zero_()
        self.add(tensors)

    def _add(self, whole: "Tensor") -> None:
        """Each part goes round twice: all add to it, then all take it as it is, and so have the same bits."""
        import torch

        parts = whole.tensor_split(self.size)
        spare = torch.empty_like(parts[0])  # none is longer
        for turn in range(2 * self.size - 2):
            mine, here = (parts[(self.rank - turn - i) % self.size] for i in range(2))
            if turn < self.size - 1:
                self._pass_on(mine, got := spare[: len(here)])
                here += got
            else:
                self._pass_on(mine, here)

    def _pass_on(self, mine: "Tensor", into: "Tensor") -> None:
        """To the next one, while that of the one before comes in."""
        import torch

        left, room = (memoryview(t.view(torch.uint8).numpy()) for t in (mine, into))
        while left or room:
            readable, writable, _ = select([self._before] if room else [], [self._after] if left else [], [], self._wait)
            if writable:
                left = left[self._after.send(left) :]
            if readable and (many := self._before.recv_into(room)):
                room = room[many:]
            elif readable or not writable:
                raise SilentError("another rank " + ("has ended" if readable else f"said nothing for {self._wait} seconds"))


class SilentError(Exception):
    """A process has died, or does not answer in time."""


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SilentError(str(error)) from error


def _caller(server: socket.socket, word: bytes, wait: int) -> socket.socket:
    """The first one that knows the word."""
    while True:
        caller, _ = server.accept()
        caller.settimeout(wait)
        if hmac.compare_digest(caller.recv(len(word)), word):
            return caller
        caller.close()


def _address(interface: str) -> str:
    import psutil

    return next(a.address for a in psutil.net_if_addrs()[interface] if a.family == socket.AF_INET)
