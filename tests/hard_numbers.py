"""Doubles of all sizes, drawn for tests of exact sums and statistics."""

import sys

from hypothesis import strategies as st

SIZES = st.sampled_from([1e-320, 1e-300, 1e-13, 1.0, 1e15, 1e300])


numbers = st.lists(
    st.one_of(
        st.floats(-1e300, 1e300),
        st.builds(lambda x, size, off: x * size + off, st.floats(-1, 1), SIZES, st.sampled_from([0.0, 1.0, 4.5e15, 2.0**62])),
        st.integers(-(2**62), 2**62).map(float),
        st.decimals(-(10**6), 10**6, places=4).map(float),
        st.sampled_from([5e-324, sys.float_info.max, -sys.float_info.max, -0.0]),
    ),
    min_size=1,
    max_size=40,
)
