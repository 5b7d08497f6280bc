"""What a label needs of the validation fold."""

import numpy as np
import pytest

from keyfold.errors import DataError
from keyfold.labels import Binary, Number
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
