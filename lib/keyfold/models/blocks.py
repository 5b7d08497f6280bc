"""Predicts in blocks of one size and on one thread, so that a row's bits do not depend on the other rows.

BLAS chooses its kernel, and so the order of a sum, by the number of rows, and splits rows among its threads. So each block has
the same size: the last block, and a single row, are padded with copies of the last row.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keyfold.features.kind import FeatureOutput

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BLOCK_ROWS = 256  # more slow down a single row, fewer slow down a batch
BLOCK_CELLS = 2**16  # numbers of a block; a block of images has fewer rows
ROW_CELLS = 2**18  # predicted numbers of a block of an estimator that computes row by row
_lock = threading.RLock()  # the number of threads is a setting of the process


def block_size(outs: Iterable[FeatureOutput]) -> int:
    """Number of rows of a block: a power of two that depends only on the features."""
    limit = max(1, min(BLOCK_ROWS, BLOCK_CELLS // max(1, sum(out.cells for out in outs))))
    return 1 << (limit.bit_length() - 1)


def block_size_of_rows(rows: int, width: int, columns: int) -> int:
    """Number of rows of a block of an estimator that computes row by row: any number gives the same bits.

    The predicted numbers of a block, `width` for each row, stay in the cache, unless the coefficients of many columns are copied for
    each block.
    """
    blocks = -(-rows // max(1, ROW_CELLS // width, columns))
    return max(1, -(-rows // max(1, blocks)))


def predict_in_blocks(
    predict: Callable[[npt.NDArray[np.intp]], Any], rows: int, size: int, threads: "Callable[[], AbstractContextManager[Any]] | None" = None
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Predictions of `rows` rows in blocks of `size`; `predict` takes the row numbers of one block.

    threads: limits the threads of the libraries that `predict` calls; default: `one_thread`.
    """
    places = np.arange(-(-rows // size) * size).clip(max=rows - 1).reshape(-1, size)
    predictions = np.empty(0)
    with (threads or one_thread)():
        for start, block in zip(range(0, rows, size), places, strict=True):
            part = np.asarray(predict(block), np.float64)
            predictions = predictions if start else np.empty((rows, *part.shape[1:]))
            predictions[start : start + size] = part[: rows - start]
    return predictions


def sequential() -> AbstractContextManager[Any]:
    """Runs joblib's tasks of this thread one after the other: all that trees and forests need for one thread."""
    import joblib

    return joblib.parallel_config(backend="sequential")  # type: ignore[no-any-return]


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits BLAS, OpenMP, torch and joblib to one thread, whatever `n_jobs` is. One thread of the process enters at a time."""
    import joblib

    with _lock, _threads().limit(limits=1), joblib.parallel_config(backend="sequential"):
        torch = sys.modules.get("torch")
        threads = torch.get_num_threads() if torch else 1
        try:
            if torch:
                torch.set_num_threads(1)
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)


def one_thread_of(library: str) -> AbstractContextManager[Any]:
    """Limits `blas` of the process, or `openmp` of the thread, to one thread."""
    return _threads().limit(limits=1, user_api=library)  # type: ignore[no-any-return]


@cache
def _threads() -> "ThreadpoolController":
    """The thread pools of this process; finding them takes 30 ms."""
    import sklearn.utils  # noqa: F401 - loads the libraries of scikit-learn
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
