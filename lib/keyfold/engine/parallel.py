"""Runs kernels in the threads of this process: Arrow and NumPy let go of Python's lock while they work. Long tasks get processes."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import Queue
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from keyfold.errors import DataError

T = TypeVar("T")
U = TypeVar("U")
_AHEAD = 2  # results that each thread may be ahead of the reader


def map_in_threads(function: Callable[[Iterator[T]], Iterable[U]], items: Iterable[T], threads: int) -> Iterator[U]:
    """What `function` makes of the items, of which each thread takes the next one; results come in no order.

    An error of a thread ends the others, and is raised here. A reader that stops early ends them, too.
    """
    results: Queue[tuple[bool, Any]] = Queue(_AHEAD * threads)
    stop, shared = Event(), _Shared(items)

    def work() -> None:
        try:
            for result in function(shared.until(stop)):
                results.put((True, result))
                if stop.is_set():
                    break
            results.put((False, None))
        except BaseException as error:  # noqa: BLE001  (raised again by the reader)
            results.put((False, error))

    workers = [Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield from _read(results, len(workers))
    finally:
        stop.set()
        while any(worker.is_alive() for worker in workers):
            _drain(results, workers)


class _Shared:
    """An iterable from which several threads take items."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items, self._lock = iter(items), Lock()

    def until(self, stop: Event) -> Iterator[Any]:
        """The next items, until there is none or `stop` is set."""
        while not stop.is_set():
            with self._lock:
                try:
                    item = next(self._items)
                except StopIteration:
                    return
            yield item


def _read(results: "Queue[tuple[bool, Any]]", running: int) -> Iterator[Any]:
    while running:
        more, result = results.get()
        if more:
            yield result
        elif result is not None:
            raise result
        else:
            running -= 1


def _drain(results: "Queue[tuple[bool, Any]]", workers: Sequence[Thread]) -> None:
    while not results.empty():
        results.get_nowait()
    for worker in workers:
        worker.join(0.01)


@contextmanager
def map_in_processes(
    function: Callable[[Any, Any], Any], shared: Any, workers: int
) -> Iterator[Callable[[Sequence[Any]], list[Any]]]:
    """`function(shared, task)` of each task, in processes with one thread each, which get `shared` once.

    Raises DataError if the system ends a process, as it does when memory runs out.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        workers, initializer=_keep, initargs=(os.getpid(), function, shared), env=dict.fromkeys(_THREADS, "1")
    )

    def run(tasks: Sequence[Any]) -> list[Any]:
        try:
            return [*pool.map(_run, tasks)]
        except BrokenProcessPool as error:
            raise DataError(
                f"a process that ran a task has ended, perhaps because memory ran out; run fewer at once: {error}"
            ) from None

    try:
        yield run
    finally:
        pool.shutdown(kill_workers=True)


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_kept: list[Any] = []  # in a process of `map_in_processes`: the function and what its tasks share


def _keep(parent: int, *values: Any) -> None:
    _kept[:] = values
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent, which may have been killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _run(task: Any) -> Any:
    function, shared = _kept
    return with_one_thread(lambda: function(shared, task))


def with_one_thread(function: Callable[[], T]) -> T:
    """The result of a function whose linear algebra uses one thread."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return function()
