"""What a label needs of the validation fold."""

import numpy as np
import pytest

from keyfold.errors import DataError
from keyfold.labels import Bands, Binary, Number
from keyfold.training.answers import complete_label


@pytest.mark.parametrize("transform", [None, "log"])
def test_an_interval_covers_its_share_of_rows_that_are_drawn_like_the_validation_fold(transform):
    draw = np.random.default_rng(0)
    predicted = draw.lognormal(3, 1, 4000)
    y = predicted * draw.lognormal(0, 0.3, 4000) if transform else predicted + draw.normal(0, 9, 4000)
    label = complete_label(Number("double", 0.9, transform=transform), y[:2000], predicted[:2000])
    low, high = label.bounds(predicted)
    covered = (low <= y) & (y <= high)
    assert np.mean(covered[:2000]) >= 0.9
    assert np.mean(covered[2000:]) == pytest.approx(0.9, abs=0.02)
    assert label.error == pytest.approx(1.645 * (0.3 if transform else 9), rel=0.1)


def test_an_interval_needs_enough_rows():
    with pytest.raises(DataError, match=" needs at least 9 labelled rows in the validation fold, which has 8"):
        complete_label(Number("double", 0.9), np.arange(8.0), np.zeros(8))


def test_labels_without_an_interval_need_no_row():
    for label in (Number("double"), Binary("string", "yes", "no")):
        assert complete_label(label, np.zeros(0), np.zeros(0)) == label


def test_the_interval_of_bands_is_adjusted_if_there_are_enough_rows():
    label = Bands("double", (1.0, 2.0), 0.0, 3.0, (0.5, 1.5, 2.5))
    y, p = np.linspace(0, 3, 99), np.tile([0.01, 0.98, 0.01], (99, 1))  # too sure of itself
    assert complete_label(label, y[:8], p[:8]) == label
    adjusted = complete_label(label, y, p)
    low, high = adjusted.bounds(p)
    assert label.interval < adjusted.held <= 1 and np.mean((low <= y) & (y <= high)) >= 0.9
