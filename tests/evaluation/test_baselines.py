"""Naive predictions: what they are, and that no constant does better."""

import numpy as np
import pytest

from keyfold.evaluation.baselines import naive_predictions
from keyfold.evaluation.metrics import measure_predictions
from keyfold.labels import Bands, Binary, Classes, Multilabel, Number

CLASSES = Classes("string", classes=("a", "b", "c"))


def test_a_naive_model_answers_the_mean_or_the_shares():
    assert naive_predictions(Number("double"), [1.0, 2.0, 6.0], 2).tolist() == [3.0, 3.0]
    assert naive_predictions(Binary("boolean"), [True, False, False, False], 2).tolist() == [0.25, 0.25]
    assert naive_predictions(CLASSES, [0, 2, 2, 2], 2).tolist() == [[0.25, 0, 0.75]] * 2
    bands = Bands("double", edges=(10.0,), lowest=0.0, highest=20.0, values=(4.0, 16.0))
    naive = naive_predictions(bands, [3.0, 5.0, 10.0, 22.0], 2)
    assert naive.tolist() == [[0.5, 0.5]] * 2
    assert bands.point(naive).tolist() == [10.0, 10.0]
    labels = Multilabel("string", labels=("a", "b"), thresholds=(0.5, 0.5))
    assert naive_predictions(labels, [[True, False], [True, False], [True, True], [False, False]], 1).tolist() == [[0.75, 0.25]]


def test_weights_are_repeated_rows():
    assert naive_predictions(CLASSES, [0, 1, 2], 1, weight=[1, 0, 3]).tolist() == [[0.25, 0, 0.75]]
    assert naive_predictions(Number("double"), [1.0, 5.0], 1, weight=[3, 1]).tolist() == [2.0]


def test_no_constant_has_a_lower_log_loss():
    y = np.random.default_rng(0).choice(3, 300, p=[0.5, 0.3, 0.2])
    naive = naive_predictions(CLASSES, y, 300)
    least = measure_predictions(CLASSES, y, naive, replicates=0)["log_loss"].value
    for other in np.random.default_rng(1).dirichlet(np.ones(3), 20):
        assert measure_predictions(CLASSES, y, np.tile(other, (300, 1)), replicates=0)["log_loss"].value > least


def test_a_naive_model_needs_a_row():
    with pytest.raises(ValueError, match="a row of the train fold"):
        naive_predictions(CLASSES, [], 3)
