"""Sums over ranks against plain ones, and what becomes of a ring that is broken."""

import socket
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfold.training.ranks import SilentError, _caller

TYPES = {
    torch.float32: st.floats(-100, 100, width=32),
    torch.float64: st.floats(-100, 100),
    torch.int64: st.integers(-(2**40), 2**40),
}


@st.composite
def tensors_of_ranks(draw):
    """For each rank tensors of the same types and lengths."""
    size = draw(st.integers(1, 5))
    kinds = draw(st.lists(st.tuples(st.sampled_from(list(TYPES)), st.integers(0, 9)), min_size=1, max_size=4))
    one = st.tuples(
        *(st.lists(TYPES[kind], min_size=n, max_size=n).map(lambda v, k=kind: torch.tensor(v, dtype=k)) for kind, n in kinds)
    )
    return [list(draw(one)) for _ in range(size)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors_of_ranks())
def test_a_sum_is_that_of_all_ranks_and_has_the_same_bits_on_each(together, given):
    def work(ranks):
        added, first = [t.clone() for t in given[ranks.rank]], [t.clone() for t in given[ranks.rank]]
        ranks.add(added)
        ranks.broadcast(first)
        return added, first

    found = together(len(given), work)
    for i, of_all in enumerate(zip(*given, strict=True)):
        whole = np.sum([t.double().numpy() for t in of_all], axis=0)
        for added, first in found:
            assert added[i].dtype == of_all[0].dtype
            assert added[i].numpy() == pytest.approx(whole, rel=1e-5, abs=1e-4)
            assert added[i].numpy().tobytes() == found[0][0][i].numpy().tobytes()
            assert torch.equal(first[i], of_all[0])


def test_a_message_is_larger_than_what_sockets_hold(together):
    def work(ranks):
        ranks.add([whole := torch.full((4_000_001,), float(ranks.rank))])
        return whole.unique().tolist()

    assert together(3, work) == [[3.0]] * 3


def test_a_rank_that_has_ended_is_missed_at_once_and_a_silent_one_in_time(together):
    took = []

    def ends(ranks):
        if ranks.rank == 1:
            raise KeyError
        start = time.monotonic()
        with pytest.raises(SilentError):
            ranks.add([torch.zeros(10)])
        took.append(time.monotonic() - start)

    with pytest.raises(KeyError):
        together(2, ends)
    assert took[0] < 30, "it would wait for 60 seconds"

    done = threading.Event()

    def freezes(ranks):
        if ranks.rank == 1:
            return done.wait(60)
        try:
            with pytest.raises(SilentError, match="said nothing for 1 seconds"):
                ranks.add([torch.zeros(10)])
        finally:
            done.set()

    together(2, freezes, wait=1)


def test_a_stranger_is_not_let_in():
    with socket.create_server(("127.0.0.1", 0)) as server:
        stranger, known = (socket.create_connection(server.getsockname()) for _ in range(2))
        stranger.sendall(b"no" * 16)
        known.sendall(word := b"it" * 16)
        with _caller(server, word, 30) as found:
            assert found.getpeername() == known.getsockname()
        assert stranger.recv(1) == b""
        for end in (stranger, known):
            end.close()
