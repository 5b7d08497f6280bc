"""Types of NumPy arrays, and columns of Arrow tables as arrays."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Doubles = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def single_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array, which is not copied if it has one chunk."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
