"""Features as what a model takes: a sparse matrix straight from the indices, a dense one, tensors, or MLlib's vectors."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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
    """float64 of (rows, sum of columns): an index as one 1 in its feature's columns, several as counts, numbers as themselves.

    DataError where there would be more columns than a 32-bit index can name.
    """
    from scipy import sparse

    rows = len(next(iter(arrays.values())))
    offsets = dict(zip(outs, np.cumsum([0, *(out.columns for out in outs.values())])[:-1].tolist(), strict=True))
    shape = (rows, sum(out.columns for out in outs.values()))
    fixed = [(arrays[name], out, offsets[name]) for name, out in outs.items() if out.length is not None]
    if shape[1] > MAX_COLUMNS:
        widest = max(outs, key=lambda name: outs[name].columns)
        raise DataError(
            f"the features take {shape[1]:,} columns, and a sparse matrix holds at most {MAX_COLUMNS:,}; "
            f"features.{widest} takes {outs[widest].columns:,}: lower its num_buckets"
        )
    columns, values = _cells(fixed, rows)
    starts = np.arange(rows + 1, dtype=np.int64) * columns.shape[1]
    found = sparse.csr_matrix((values.ravel(), columns.ravel(), starts), shape=shape)
    for name, out in outs.items():
        if out.length is None:
            found = found + _bag(arrays[name], offsets[name], shape)
    if any(out.length != 1 and out.type == "int" for out in outs.values()):
        found.sum_duplicates()
    return found


def _cells(fixed: list[tuple[Any, FeatureOutput, int]], rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The columns and the values of the cells of features that have the same number of cells in each row."""
    cells = sum(out.length or 0 for _, out, _ in fixed)
    columns, values = np.empty((rows, cells), np.int32), np.ones((rows, cells))
    at = 0
    for array, out, offset in fixed:
        here = slice(at, at := at + (out.length or 0))
        wide = array.reshape(rows, out.length)
        if out.type == "int":
            columns[:, here] = wide + offset
        else:
            columns[:, here], values[:, here] = np.arange(offset, offset + (out.length or 0)), wide
    return columns, values


def _bag(array: pa.ListArray, offset: int, shape: tuple[int, int]) -> "sparse.csr_matrix":
    from scipy import sparse

    columns = array.flatten().to_numpy() + offset
    starts = np.concatenate([[0], np.cumsum(array.value_lengths().to_numpy())])
    return sparse.csr_matrix((np.ones(len(columns)), columns, starts), shape=shape)


def dense_matrix(arrays: Arrays, outs: Outs) -> npt.NDArray[np.float64]:
    """float64 of (rows, features, vectors laid out): an index as a number (DataError where it has too many for a category)."""
    for name, out in outs.items():
        if out.type == "int" and not out.is_index:
            raise DataError(f"features.{name} is a list of indices, and this estimator takes none; choose one for sparse input")
        if out.is_index and out.width > MAX_CATEGORIES:
            raise DataError(
                f"features.{name} has {out.width:,} values, and this estimator takes categories of at most {MAX_CATEGORIES}; "
                "lower num_buckets or max_categories, or choose an estimator for sparse input"
            )
    return np.column_stack([np.asarray(arrays[name], np.float64) for name in outs])


def categorical_columns(outs: Outs) -> list[bool]:
    """Of each column of `dense`, whether it is a category."""
    return [out.is_index for out in outs.values() for _ in range(out.length or 0)]


def tensors(arrays: Arrays, outs: Outs) -> "dict[str, torch.Tensor]":
    """By feature: int32 indices, float32 numbers; a bag as a nested tensor (needs the package torch)."""
    import torch

    made = {}
    for name, out in outs.items():
        if out.length is None:
            made[name] = torch.nested.as_nested_tensor([torch.tensor(row, dtype=torch.int32) for row in arrays[name].to_pylist()])
        else:
            made[name] = torch.as_tensor(np.asarray(arrays[name], np.int32 if out.type == "int" else np.float32))
    return made


class Layout(NamedTuple):
    """Where features stand: `indices` and `numbers` by name, with their columns in the matrix of that type; `widths` of index features.

    `shapes` of those whose values are more than a list.
    """

    indices: dict[str, slice]
    numbers: dict[str, slice]
    widths: dict[str, int]
    shapes: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - no one writes to it

    @classmethod
    def of(cls, outs: Outs) -> "Layout":
        """DataError for a feature of any number of indices."""
        indices: dict[str, slice] = {}
        numbers: dict[str, slice] = {}
        widths: dict[str, int] = {}
        for name, out in outs.items():
            if out.length is None:
                raise DataError(
                    f"features.{name} is a bag of any number of indices, and a network takes as many for each row; give it a length"
                )
            into = indices if out.type == "int" else numbers
            begin = max((s.stop for s in into.values()), default=0)
            into[name] = slice(begin, begin + out.length)
            if out.type == "int":
                widths[name] = out.width
        return cls(indices, numbers, widths, {name: out.shape for name, out in outs.items() if out.shape})

    def only(self, names: "Collection[str]") -> "Layout":
        """Some of the features, where they stood."""
        indices, numbers = ({n: at for n, at in of.items() if n in names} for of in (self.indices, self.numbers))
        return self._replace(indices=indices, numbers=numbers)

    @property
    def columns(self) -> tuple[int, int]:
        """How many columns the matrix of each type has."""
        indices, numbers = (max((s.stop for s in places.values()), default=0) for places in (self.indices, self.numbers))
        return indices, numbers

    @property
    def names(self) -> list[str]:
        """The features."""
        return [*self.indices, *self.numbers]

    def pack(self, arrays: Arrays, indices: npt.NDArray[np.int32], numbers: npt.NDArray[np.float32]) -> None:
        """Writes the features into matrices of (rows, columns)."""
        for places, into in ((self.indices, indices), (self.numbers, numbers)):
            for name, at in places.items():
                into[:, at] = np.asarray(arrays[name]).reshape(len(into), at.stop - at.start)

    def packed(self, arrays: Arrays, rows: int) -> "tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]":
        """(rows, columns) of both types."""
        indices, numbers = self.columns
        made = np.empty((rows, indices), np.int32), np.empty((rows, numbers), np.float32)
        self.pack(arrays, *made)
        return made


def mllib_vectors(rows: "sparse.csr_matrix") -> pa.Array:
    """The rows as MLlib's sparse vectors, in the form that Spark stores them in."""
    rows.sum_duplicates()  # MLlib wants rising indices
    starts = pa.array(rows.indptr, pa.int32())
    cells = (pa.ListArray.from_arrays(starts, pa.array(values)) for values in (rows.indices.astype(np.int32), rows.data))
    kinds = np.zeros(rows.shape[0], np.int8), np.full(rows.shape[0], rows.shape[1], np.int32)
    return pa.StructArray.from_arrays([*map(pa.array, kinds), *cells], ["type", "size", "indices", "values"])
