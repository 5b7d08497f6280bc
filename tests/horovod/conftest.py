"""Networks of tests are small: a second thread costs more than it does."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from small_networks import training_data

torch.set_num_threads(1)


class Threads:
    """Ranks that are threads of one process, for tests of the loop; Horovod's own processes are in test_sums and test_ranks."""

    def __init__(self, rank, size, given, met):
        self.rank, self.size, self.local, self.given, self.met = rank, size, rank, given, met

    def _all(self, tensors):
        self.given[self.rank] = [t.clone() for t in tensors]
        self.met.wait()
        found = list(self.given)
        self.met.wait()
        return found

    def add(self, tensors):
        for t, *given in zip(tensors, *self._all(tensors), strict=True):
            t.copy_(sum(given))

    def broadcast(self, tensors):
        for t, first in zip(tensors, self._all(tensors)[0], strict=True):
            t.copy_(first)


@pytest.fixture
def together():
    """What `work` returns for each of so many ranks; where one fails, the others do too."""

    def go(size, work, wait=60):
        given, met = [None] * size, threading.Barrier(size, timeout=wait)

        def alone(rank):
            try:
                return work(Threads(rank, size, given, met))
            except BaseException:
                met.abort()
                raise

        with ThreadPoolExecutor(size) as pool:
            return [found.result() for found in [pool.submit(alone, rank) for rank in range(size)]]

    return go


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The training data of each network in `small_networks`."""
    return training_data(tmp_path_factory.mktemp("rows"))
