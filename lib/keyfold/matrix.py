"""Features as what a model takes: a sparse matrix straight from the indices, or a dense one with native categories."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from keyfold.errors import DataError

Arrays = Mapping[str, npt.NDArray[Any]]
MAX_CATEGORIES = 255


def csr(arrays: Arrays, widths: Mapping[str, int], indices: Mapping[str, int]) -> sparse.csr_matrix:
    """float64 of (rows, sum of widths): an index as one 1 in its feature's columns, a number as itself."""
    rows = len(next(iter(arrays.values())))
    offsets = dict(zip(widths, np.cumsum([0, *widths.values()])[:-1], strict=True))
    columns = np.empty((rows, len(widths)), np.int32)
    values = np.ones((rows, len(widths)))
    for i, name in enumerate(widths):
        if name in indices:
            columns[:, i] = offsets[name] + arrays[name]
        else:
            columns[:, i], values[:, i] = offsets[name], arrays[name]
    starts = np.arange(rows + 1, dtype=np.int64) * len(widths)
    return sparse.csr_matrix((values.ravel(), columns.ravel(), starts), shape=(rows, sum(widths.values())))


def dense(arrays: Arrays, widths: Mapping[str, int], indices: Mapping[str, int]) -> npt.NDArray[np.float64]:
    """float64 of (rows, features): an index as a number (DataError where it has too many values for a category)."""
    for name, width in indices.items():
        if width > MAX_CATEGORIES:
            raise DataError(
                f"features.{name} has {width:,} values, and this estimator takes categories of at most {MAX_CATEGORIES}; "
                "lower num_buckets or max_categories, or choose an estimator for sparse input"
            )
    return np.column_stack([arrays[name].astype(np.float64) for name in widths])
