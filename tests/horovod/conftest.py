"""Networks of tests are small: a second thread costs more than it does."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from keyfold.training.ranks import Ring

torch.set_num_threads(1)


@pytest.fixture
def together():
    """What `work` returns for each of so many ranks, which are threads here; where one fails, it is as if its process had ended."""

    def go(size, work, wait=60):
        pairs = [socket.socketpair() for _ in range(size)]  # from a rank to the next one
        ring = [Ring(rank, size, rank, pairs[rank][0], pairs[rank - 1][1], wait) for rank in range(size)]

        def alone(rank):
            try:
                return work(ring[rank])
            except BaseException:
                for end in (pairs[rank][0], pairs[rank - 1][1]):
                    end.close()
                raise

        with ThreadPoolExecutor(size) as pool:
            return [found.result() for found in [pool.submit(alone, rank) for rank in range(size)]]

    return go
