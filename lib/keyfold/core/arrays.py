"""Types of NumPy arrays."""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
