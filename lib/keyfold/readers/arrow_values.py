"""Values of Arrow arrays: by a kernel where a check has passed, one by one for the rest."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools


def bools(mask: pa.Array) -> Bools:
    """A mask as NumPy's; NULL is False."""
    return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), np.bool_)


def convert_rest(done: pa.Array, text: pa.Array, rest: Bools, convert: Callable[[str], Any]) -> pa.Array:
    """The values of `done`, and where `rest` is those that `convert` gives for the text; each different text is converted once."""
    if not rest.any():
        return done
    few = text.filter(pa.array(rest)).dictionary_encode()
    values = pa.array([convert(value) for value in few.dictionary.to_pylist()], done.type)
    return pc.replace_with_mask(done, pa.array(rest), values.take(few.indices))
