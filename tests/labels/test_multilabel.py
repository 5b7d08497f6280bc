"""Several labels a row: labels are learnt from a sparse matrix, and answers are lists of any length."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from keyfold.labels import Multilabel

K = 12
LABEL = Multilabel("string", tuple(f"l{code:02}" for code in range(K)), tuple(0.05 * (1 + code) for code in range(K)))
rows_of_codes = st.lists(st.sets(st.integers(0, K - 1), max_size=5), max_size=20)


@given(rows_of_codes, st.integers(0, 3))
def test_a_row_has_the_labels_of_its_codes(rows, start):
    truth = pa.chunked_array([pa.array([",".join(map(str, sorted(row))) for row in rows], pa.string())]).slice(start)
    y = LABEL.encode(truth)
    assert sparse.issparse(y) and y.shape == (len(truth), K) and y.dtype == bool
    assert [set(np.flatnonzero(row)) for row in y.toarray()] == rows[start:]
    assert np.array_equal(LABEL.measured(truth), y.toarray())


@given(st.integers(0, 20), st.integers(0, 2**32))
def test_the_prediction_lists_the_labels_that_reach_their_thresholds(rows, seed):
    numbers = np.random.default_rng(seed).random((rows, K))
    numbers[::7] = np.nan
    answer = LABEL.answer(numbers)
    for row, predicted, probabilities in zip(
        numbers, answer["prediction"].to_pylist(), answer["probabilities"].to_pylist(), strict=True
    ):
        if np.isnan(row).any():
            assert predicted is probabilities is None
        else:
            assert predicted == [name for name, p, least in zip(LABEL.labels, row, LABEL.thresholds, strict=True) if p >= least]
            assert dict(probabilities) == dict(zip(LABEL.labels, row, strict=True))
