"""Predictions in blocks of one size and on one thread, so that a row's bits do not depend on the rows beside it.

BLAS chooses its kernel, and with it the order of a sum, by the number of rows, and splits rows among its threads. So a matrix is
always of one size here: the last block, and a single row, are filled up with copies of the last row.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keyfold.features.kind import FeatureOutput

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BLOCK_ROWS = 256  # rows: more cost a single row its time, fewer cost a batch that of the calls
BLOCK_CELLS = 2**16  # numbers of a block: fewer rows where a row is an image
_one_at_a_time = threading.RLock()  # the number of threads belongs to the process


def block_size(outs: Iterable[FeatureOutput]) -> int:
    """Rows of a block: a power of two that follows from the features alone."""
    most = max(1, min(BLOCK_ROWS, BLOCK_CELLS // max(1, sum(out.cells for out in outs))))
    return 1 << (most.bit_length() - 1)


def predict_in_blocks(predict: Callable[[npt.NDArray[np.intp]], Any], rows: int, size: int) -> npt.NDArray[np.float64]:
    """The predictions of so many rows; `predict` gets the places of the rows of one block."""
    places = np.arange(-(-rows // size) * size).clip(max=rows - 1).reshape(-1, size)
    with one_thread():
        found = [np.asarray(predict(block), np.float64) for block in places]
    return np.concatenate([np.empty(0), *found])[:rows]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS, OpenMP, torch and joblib, whatever `n_jobs` says; threads of this process wait for each other."""
    import joblib

    with _one_at_a_time, _threads().limit(limits=1), joblib.parallel_config(backend="sequential"):
        torch = sys.modules.get("torch")
        before = torch.get_num_threads() if torch else 1
        try:
            if torch:
                torch.set_num_threads(1)
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


@cache
def _threads() -> "ThreadpoolController":
    """The libraries of this process, listed once: that takes 30 ms."""
    import sklearn.utils  # noqa: F401 - loads those that it computes with
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
