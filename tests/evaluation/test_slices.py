"""Metrics by slice."""

import math

import numpy as np
import pytest

from keyfold.evaluation.metrics import measure_predictions
from keyfold.evaluation.slices import MISSING, OTHERS, slice_metrics
from keyfold.labels import Binary, Number

BINARY = Binary("boolean", positive=True, negative=False)


def test_slices_add_up_and_stand_by_size():
    rng = np.random.default_rng(3)
    p = rng.beta(1, 3, 2000).round(2)
    y, order = rng.random(2000) < p, rng.integers(-(2**63), 2**63 - 1, 2000)
    groups = np.array([None, "a", "b", "c", "d", OTHERS, math.nan, "e"], object)[order % 8]
    groups[:300] = "a"
    result = slice_metrics(BINARY, y, p, groups, order=order, most=3, replicates=5)
    sizes = [part.rows for part in result.values()]
    assert list(result)[0::3] == ["a", OTHERS]
    assert MISSING in result
    assert sizes[:3] == sorted(sizes[:3], reverse=True)
    assert sum(sizes) == 2000
    a = groups == "a"
    assert result["a"].metrics == measure_predictions(BINARY, y[a], p[a], order=order[a], replicates=5)


def test_slices_pool_only_what_is_left():
    assert list(slice_metrics(BINARY, [0, 1, 1], [0.1, 0.2, 0.3], ["x", "y", "x"], replicates=1)) == ["x", "y"]
    result = slice_metrics(BINARY, [0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4], [OTHERS, OTHERS, "x", "y"], most=1, replicates=1)
    assert [(name, part.rows) for name, part in result.items()] == [("x", 1), (OTHERS, 3)]
    with pytest.raises(ValueError, match="one value per row"):
        slice_metrics(BINARY, [0, 1], [0.1, 0.2], ["x"])


def test_slices_of_a_regression():
    result = slice_metrics(Number("double"), [1.5, 2, 3], [1, 2, 3], [7, 7, 8])
    assert result["7"].metrics["mae"].value == 0.25
