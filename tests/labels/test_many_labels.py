"""What many labels hold in memory: the predicted numbers once, and little more."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import SGDClassifier

from keyfold.evaluation.metrics import measure_predictions
from keyfold.labels import Multilabel
from keyfold.models import blocks
from keyfold.models.several_labels import fit_labels
from keyfold.models.sklearn import Estimator

ROWS, LABELS, COLUMNS = 2_000, 500, 300
LABEL = Multilabel("string", tuple(f"l{i}" for i in range(LABELS)), (0.5,) * LABELS)
UNIT = ROWS * LABELS * 8  # bytes of the predicted numbers


class Fixed(Estimator):
    """An estimator of a matrix."""

    def matrix(self, arrays):
        return arrays["matrix"]


def peak(function):
    """The result of a function, and the most memory that it took, as multiples of the predicted numbers."""
    function()  # what is imported and cached does not count
    tracemalloc.start()
    result = function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, most / UNIT


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    texts = sparse.random(ROWS, COLUMNS, 0.03, "csr", random_state=0)
    has = np.asarray(texts[:, :LABELS].todense())[:, np.arange(LABELS) % COLUMNS] + 0.1 * draw.random((ROWS, LABELS)) > 0.6
    return texts, has


def test_the_numbers_of_many_labels_are_there_once(rows, monkeypatch):
    monkeypatch.setattr(blocks, "ROW_CELLS", 2**15)
    texts, has = rows
    fitted = fit_labels(SGDClassifier(loss="log_loss", max_iter=1, tol=None), texts[:100], has[:100], {})
    estimator = Fixed(fitted, SimpleNamespace(outs={}), sparse=True)
    numbers, most = peak(lambda: estimator.uncorrected_numbers({"matrix": texts}, LABEL))
    assert most < 1.4 and numbers.shape == (ROWS, LABELS)
    assert (numbers[:7] == estimator.uncorrected_numbers({"matrix": texts[:7]}, LABEL)).all()


def test_rows_in_order_are_measured_without_a_copy_of_their_numbers(rows):
    _, has = rows
    p, order = np.where(has, 0.6, 0.1) * np.random.default_rng(1).random(has.shape), np.arange(ROWS)
    in_order, most = peak(lambda: measure_predictions(LABEL, has, p, order=order, replicates=2))
    turned, more = peak(lambda: measure_predictions(LABEL, has[::-1], p[::-1], order=order[::-1], replicates=2))
    assert most < more - 0.9 and turned == in_order
