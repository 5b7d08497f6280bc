"""Work in threads: results in order, few items at a time."""

import threading
import time

import numpy as np
import pytest

from keyfold.core.threads import map_in_order
from keyfold.evaluation import intervals


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_are_in_the_order_of_the_items_which_are_taken_when_needed(threads):
    taken = []

    def items():
        for i in range(20):
            taken.append((i, threading.current_thread()))
            yield i

    def slow_if_even(i):
        time.sleep(0.002 * (1 - i % 2))
        return -i

    results = map_in_order(slow_if_even, items(), threads)
    assert next(results) == 0
    assert len(taken) <= threads + 1
    assert [*results] == [-i for i in range(1, 20)]
    assert {thread for _, thread in taken} == {threading.current_thread()}


def test_work_is_shared():
    both = threading.Barrier(2, timeout=20)
    assert [*map_in_order(lambda i: both.wait() * 0 + i, range(4), 2)] == [0, 1, 2, 3]


def test_an_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        [*map_in_order(lambda i: 1 // i, [1, 0, 1], 2)]


def test_replicates_are_the_same_in_threads(monkeypatch):
    x = np.random.default_rng(0).random(1000)

    def measure(weight):
        return {"mean": float(weight @ x / weight.sum()), "sum": float(weight.sum())}

    alone = intervals.bootstrap_values(measure, np.ones(1000), 50)
    monkeypatch.setattr(intervals, "_MANY", 1)
    assert np.array_equal(intervals.bootstrap_values(measure, np.ones(1000), 50)[1], alone[1])
    assert intervals.bootstrap_values(measure, np.ones(1000), 0)[1].shape == (0, 2)
