"""Features as input of a model: sparse matrix, dense matrix, tensors, or MLlib vectors."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.errors import DataError
from keyfold.features.kind import Array, FeatureOutput

if TYPE_CHECKING:
    import torch
    from scipy import sparse

Arrays = Mapping[str, Array]
Outs = Mapping[str, FeatureOutput]
MAX_CATEGORIES = 255
MAX_COLUMNS = 2**31 - 1


def sparse_matrix(arrays: Arrays, outs: Outs) -> "sparse.csr_matrix":
    """The features as float64 of shape (rows, sum of `FeatureOutput.columns`).

    An index is a 1 in one of its feature's columns. A list of indices becomes counts in these columns, weighted if the feature has
    weights. A number stays a number.
    Raises DataError for more columns than a 32-bit index can address.
    """
    from scipy import sparse

    rows = len(next(iter(arrays.values())))
    offsets = dict(zip(outs, np.cumsum([0, *(out.columns for out in outs.values())])[:-1].tolist(), strict=True))
    shape = (rows, sum(out.columns for out in outs.values()))
    _check_columns(shape[1], outs)
    columns, values = _cells([(arrays[name], out, offsets[name]) for name, out in outs.items() if out.length is not None], rows)
    starts = np.arange(rows + 1, dtype=np.int64) * columns.shape[1]
    matrix = sparse.csr_matrix((values.ravel(), columns.ravel(), starts), shape=shape)
    for name, out in outs.items():
        if out.length is None:
            matrix = matrix + _bag(arrays[name], offsets[name], shape, out.weights)
    if any(out.length != 1 and out.type == "int" for out in outs.values()):
        matrix.sum_duplicates()
    return matrix


def _check_columns(columns: int, outs: Outs) -> None:
    if columns > MAX_COLUMNS:
        widest = max(outs, key=lambda name: outs[name].columns)
        raise DataError(
            f"the features take {columns:,} columns, and a sparse matrix holds at most {MAX_COLUMNS:,}; "
            f"features.{widest} takes {outs[widest].columns:,}: lower its num_buckets"
        )


def _cells(fixed: list[tuple[Any, FeatureOutput, int]], rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Column numbers and values of shape (rows, cells), for features of fixed length: (array, output, first column)."""
    cells = sum(out.length or 0 for _, out, _ in fixed)
    columns, values = np.empty((rows, cells), np.int32), np.ones((rows, cells))
    start = 0
    for array, out, offset in fixed:
        place = slice(start, start := start + (out.length or 0))
        wide = array.reshape(rows, out.length)
        if out.type == "int":
            columns[:, place] = wide + offset
        else:
            columns[:, place], values[:, place] = np.arange(offset, offset + (out.length or 0)), wide
    return columns, values


def _bag(array: pa.ListArray, offset: int, shape: tuple[int, int], weights: Doubles | None) -> "sparse.csr_matrix":
    from scipy import sparse

    columns = array.flatten().to_numpy() + offset
    starts = np.concatenate([[0], np.cumsum(array.value_lengths().to_numpy())])
    counts = sparse.csr_matrix((np.ones(len(columns)), columns, starts), shape=shape)
    if weights is not None:
        counts.sum_duplicates()
        counts.data *= weights[counts.indices - offset]
        row = np.repeat(np.arange(shape[0]), np.diff(counts.indptr))
        squares = np.bincount(row, counts.data**2, minlength=shape[0])  # adds in the order of the columns, in any batch
        counts.data /= np.sqrt(np.where(squares > 0, squares, 1.0))[row]
    return counts


def dense_matrix(arrays: Arrays, outs: Outs) -> npt.NDArray[np.float64]:
    """The features as float64 of shape (rows, columns): one column per index, and one per number of a list.

    Raises DataError for a list of indices, and for an index with more than `MAX_CATEGORIES` values.
    """
    for name, out in outs.items():
        if out.type == "int" and not out.is_index:
            raise DataError(f"features.{name} is a list of indices; choose an estimator that accepts sparse input")
        if out.is_index and out.width > MAX_CATEGORIES:
            raise DataError(
                f"features.{name} has {out.width:,} values, and this estimator takes categories of at most {MAX_CATEGORIES}; "
                "lower num_buckets or max_categories, or choose an estimator that accepts sparse input"
            )
    return np.column_stack([np.asarray(arrays[name], np.float64) for name in outs])


def categorical_columns(outs: Outs) -> list[bool]:
    """For each column of `dense_matrix`: whether it is a category."""
    return [out.is_index for out in outs.values() for _ in range(out.length or 0)]


def tensors(arrays: Arrays, outs: Outs) -> "dict[str, torch.Tensor]":
    """Tensors by feature: int32 indices, float32 numbers; a bag is a nested tensor. Needs the package torch."""
    import torch

    by_name = {}
    for name, out in outs.items():
        if out.length is None:
            by_name[name] = torch.nested.as_nested_tensor(
                [torch.tensor(row, dtype=torch.int32) for row in arrays[name].to_pylist()]
            )
        else:
            by_name[name] = torch.as_tensor(np.asarray(arrays[name], np.int32 if out.type == "int" else np.float32))
    return by_name


class Layout(NamedTuple):
    """Columns of features in two matrices: one of int32 indices, one of float32 numbers.

    indices, numbers: columns by feature name. widths: number of different indices, by feature name.
    shapes: shape of a row of features with more than one dimension.
    """

    indices: dict[str, slice]
    numbers: dict[str, slice]
    widths: dict[str, int]
    shapes: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - no one writes to it

    @classmethod
    def of(cls, outs: Outs) -> "Layout":
        """The layout of features. Raises DataError for a bag of indices."""
        indices: dict[str, slice] = {}
        numbers: dict[str, slice] = {}
        for name, out in outs.items():
            if out.length is None:
                raise DataError(
                    f"features.{name} is a bag of indices, and a network needs the same number for each row; set its length"
                )
            places = indices if out.type == "int" else numbers
            start = max((place.stop for place in places.values()), default=0)
            places[name] = slice(start, start + out.length)
        widths = {name: outs[name].width for name in indices}
        return cls(indices, numbers, widths, {name: out.shape for name, out in outs.items() if out.shape})

    def only(self, names: Collection[str]) -> "Layout":
        """The layout of some of the features, in the same columns."""
        indices, numbers = ({n: place for n, place in places.items() if n in names} for places in (self.indices, self.numbers))
        return self._replace(indices=indices, numbers=numbers)

    @property
    def columns(self) -> tuple[int, int]:
        """Number of columns of both matrices."""
        indices, numbers = (max((place.stop for place in places.values()), default=0) for places in (self.indices, self.numbers))
        return indices, numbers

    @property
    def names(self) -> list[str]:
        """Names of the features."""
        return [*self.indices, *self.numbers]

    def pack(self, arrays: Arrays, indices: npt.NDArray[np.int32], numbers: npt.NDArray[np.float32]) -> None:
        """Writes features into matrices of shape (rows, columns)."""
        for places, target in ((self.indices, indices), (self.numbers, numbers)):
            for name, place in places.items():
                target[:, place] = np.asarray(arrays[name]).reshape(len(target), place.stop - place.start)

    def packed(self, arrays: Arrays, rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Features as new matrices of shape (rows, columns)."""
        indices, numbers = self.columns
        matrices = np.empty((rows, indices), np.int32), np.empty((rows, numbers), np.float32)
        self.pack(arrays, *matrices)
        return matrices


def mllib_vectors(rows: "sparse.csr_matrix") -> pa.Array:
    """Rows as MLlib's sparse vectors, in Spark's storage format."""
    rows.sum_duplicates()  # MLlib needs ascending indices
    starts = pa.array(rows.indptr, pa.int32())
    cells = (pa.ListArray.from_arrays(starts, pa.array(values)) for values in (rows.indices.astype(np.int32), rows.data))
    types = np.zeros(rows.shape[0], np.int8), np.full(rows.shape[0], rows.shape[1], np.int32)
    return pa.StructArray.from_arrays([*map(pa.array, types), *cells], ["type", "size", "indices", "values"])
