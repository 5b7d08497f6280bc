"""Runs kernels in threads, because Arrow and NumPy release Python's lock, and long tasks in processes."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import Queue
from threading import Event, Lock, Semaphore, Thread
from typing import Any, TypeVar

from keyfold.errors import DataError

T = TypeVar("T")
U = TypeVar("U")
_AHEAD = 4  # items per thread that may be started before the oldest one is finished


def map_in_threads(function: Callable[[Iterator[T]], Iterable[U]], items: Iterable[T], threads: int) -> Iterator[U]:
    """Runs `function` in threads that take the items in turn, and yields the results in the order of the items.

    A result belongs to the item that its thread took last. An error in a thread stops the others and is raised here. If the reader
    stops early, the threads stop too.
    """
    shared = _Shared(items, threads)
    workers = [Thread(target=shared.work, args=(function,), daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield from shared.results_in_order(len(workers))
    finally:
        shared.stop.set()
        while any(worker.is_alive() for worker in workers):
            shared.drain(workers)


class _Shared:
    """The items and results that threads share. A result has the number of its item, or is an error, or `_DONE`."""

    def __init__(self, items: Iterable[Any], threads: int) -> None:
        self._items, self._lock = enumerate(items), Lock()
        self._results: Queue[tuple[int | None, Any]] = Queue(threads)
        self._permits = Semaphore(_AHEAD * threads)
        self.stop = Event()

    def work(self, function: Callable[[Iterator[Any]], Iterable[Any]]) -> None:
        """Runs the function in a thread."""
        taken = _Taken()
        try:
            for result in function(self._until_stop(taken)):
                self._results.put((taken.number, result))
                if self.stop.is_set():
                    break
            self._results.put((taken.number, _DONE))
            self._results.put((None, None))
        except BaseException as error:  # noqa: BLE001  (raised again by the reader)
            self._results.put((None, error))

    def _until_stop(self, taken: "_Taken") -> Iterator[Any]:
        while not self.stop.is_set():
            if not self._permits.acquire(timeout=0.1):
                continue
            with self._lock:
                try:
                    number, item = next(self._items)
                except StopIteration:
                    return
            taken.number = number
            yield item
            self._results.put((number, _DONE))

    def results_in_order(self, running: int) -> Iterator[Any]:
        """Yields the results until all threads have ended."""
        waiting: dict[int, list[Any]] = {}
        done: set[int] = set()
        oldest = 0
        while running:
            number, result = self._results.get()
            if number is None:
                if result is not None:
                    raise result
                running -= 1
            elif result is not _DONE:
                if number > oldest:
                    waiting.setdefault(number, []).append(result)
                else:
                    yield result
            elif number >= oldest:
                done.add(number)
                while oldest in done:
                    done.remove(oldest)
                    self._permits.release()
                    oldest += 1
                    yield from waiting.pop(oldest, ())

    def drain(self, workers: Sequence[Thread]) -> None:
        """Discards results, so that no thread waits for room in the queue."""
        while not self._results.empty():
            self._results.get_nowait()
        for worker in workers:
            worker.join(0.01)


_DONE = object()


class _Taken:
    """The number of the item that a thread took last."""

    number = 0


@contextmanager
def map_in_processes(
    function: Callable[[Any, Any], Any], shared: Any, workers: int
) -> Iterator[Callable[[Sequence[Any]], list[Any]]]:
    """Runs `function(shared, task)` for each task, in processes with one thread each. Each process gets `shared` once.

    Raises DataError if the system kills a process, for example because memory runs out.
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
_kept: list[Any] = []  # in a process of `map_in_processes`: the function and the shared value


def _keep(parent: int, *values: Any) -> None:
    _kept[:] = values
    Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: int) -> None:
    """Ends this process within a second after its parent, even if that was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _run(task: Any) -> Any:
    function, shared = _kept
    return with_one_thread(lambda: function(shared, task))


def with_one_thread(function: Callable[[], T]) -> T:
    """Calls a function with linear algebra limited to one thread."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return function()
