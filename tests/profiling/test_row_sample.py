"""The sample of rows."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.profiling.row_sample import SAMPLE_ROWS, RowSample


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3 * SAMPLE_ROWS // 2), min_size=1, max_size=8))
def test_a_sample_is_even_over_all_blocks(sizes: list[int]) -> None:
    sample, at = RowSample(), 0
    for size in sizes:
        sample.add({"n": pa.array(range(at, at + size))})
        at += size
    kept = sample.column("n").to_pylist()
    assert len(kept) == sample.rows <= 2 * SAMPLE_ROWS and kept == sorted(set(kept))
    assert len(kept) >= min(at, SAMPLE_ROWS) and (not kept or max(np.diff([*kept, at]), default=1) <= -(-at // SAMPLE_ROWS))
