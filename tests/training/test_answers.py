"""What the answers of a model need of the validation fold."""

import numpy as np
import pytest

from keyfold.conf.label import LabelConf
from keyfold.errors import DataError
from keyfold.evaluation.metrics import measure_predictions
from keyfold.labels import Bands, Binary, Classes, Multilabel, Number
from keyfold.training.answers import complete_answers

DRAW = np.random.default_rng(0)
BINARY, CLASSES, LABELS = (
    Binary("string", "yes", "no"),
    Classes("string", ("a", "b", "c")),
    Multilabel("string", ("p", "s"), (0.5, 0.5)),
)


def complete(label, y, numbers, **conf):
    return complete_answers(LabelConf(column="y", **conf), label, y, numbers)


def overconfident(label, rows):
    """Labels, and probabilities of them that are too sure of themselves."""
    odds = DRAW.normal(0, 1, (rows, label.width))
    if label.kind == "classes":
        p = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
        given = np.exp(4 * odds)
        return (DRAW.random((rows, 1)) > np.cumsum(p, axis=1)).sum(axis=1), given / given.sum(axis=1, keepdims=True)
    y, given = DRAW.random(odds.shape) < 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(-4 * odds))
    return (y[:, 0], given[:, 0]) if label.width == 1 else (y, given)


@pytest.mark.parametrize("transform", [None, "log"])
def test_an_interval_covers_its_share_of_rows_that_are_drawn_like_the_validation_fold(transform):
    draw = np.random.default_rng(0)
    predicted = draw.lognormal(3, 1, 4000)
    y = predicted * draw.lognormal(0, 0.3, 4000) if transform else predicted + draw.normal(0, 9, 4000)
    label = complete(Number("double", 0.9, transform=transform), y[:2000], predicted[:2000]).label
    low, high = label.bounds(predicted)
    covered = (low <= y) & (y <= high)
    assert np.mean(covered[:2000]) >= 0.9
    assert np.mean(covered[2000:]) == pytest.approx(0.9, abs=0.02)
    assert label.error == pytest.approx(1.645 * (0.3 if transform else 9), rel=0.1)


@pytest.mark.parametrize("transform", [None, "log"])
def test_a_scaled_interval_is_as_wide_as_errors_are_at_the_predicted_number(transform):
    draw = np.random.default_rng(0)
    predicted = draw.uniform(1, 10, 8000)
    spread = 0.05 * predicted
    y = predicted * np.exp(draw.normal(0, spread)) if transform else predicted + draw.normal(0, spread)
    interval = {"share": 0.8, "scaled": True}
    label = complete(Number("double", 0.8, transform=transform), y[:4000], predicted[:4000], interval=interval).label
    low, high = label.bounds(predicted[4000:])
    covered = (low <= y[4000:]) & (y[4000:] <= high)
    assert np.mean(covered) == pytest.approx(0.8, abs=0.02)
    for third in np.array_split(np.argsort(predicted[4000:]), 3):
        assert np.mean(covered[third]) == pytest.approx(0.8, abs=0.04)
    width = np.log(high / low) if transform else high - low
    assert width == pytest.approx(2 * 1.2816 * spread[4000:], rel=0.5)
    assert (
        complete(Number("double", 0.8), y, predicted, interval={"share": 0.8}).label
        == complete(Number("double", 0.8), y, predicted, interval=0.8).label
    )
    with pytest.raises(DataError, match="needs at least 8 labelled rows in the validation fold, which has 7"):
        complete(Number("double", 0.8), y[:7], predicted[:7], interval=interval)


def test_an_interval_needs_enough_rows():
    with pytest.raises(DataError, match=" needs at least 9 labelled rows in the validation fold, which has 8"):
        complete(Number("double", 0.9), np.arange(8.0), np.zeros(8))


def test_without_options_no_row_is_needed_and_the_label_stays():
    for label in (Number("double"), BINARY, CLASSES, LABELS):
        assert complete(label, np.zeros(0), np.zeros(0)) == (label, None, {})


def test_the_interval_of_bands_is_adjusted_if_there_are_enough_rows():
    label = Bands("double", (1.0, 2.0), 0.0, 3.0, (0.5, 1.5, 2.5))
    y, p = np.linspace(0, 3, 99), np.tile([0.01, 0.98, 0.01], (99, 1))  # too sure of itself
    assert complete(label, y[:8], p[:8]).label == label
    adjusted = complete(label, y, p).label
    low, high = adjusted.bounds(p)
    assert label.interval < adjusted.held <= 1 and np.mean((low <= y) & (y <= high)) >= 0.9


def test_a_threshold_is_a_number_or_the_best_of_the_validation_fold():
    y, p = overconfident(BINARY, 400)
    assert complete(BINARY, y[:0], p[:0], threshold=0.3).label.threshold == 0.3
    tuned = complete(BINARY, y, p, threshold={"maximise": "f1"})
    f1 = {at: measure_predictions(Binary("string", "yes", "no", at), y, p, replicates=0)["f1"].value for at in p}
    assert (
        tuned.label.threshold == max(f1, key=lambda at: (f1[at], at))
        and tuned.thresholds["yes"].threshold == tuned.label.threshold
    )
    y, p = overconfident(LABELS, 400)
    assert complete(LABELS, y[:0], p[:0], threshold=0.3).label.thresholds == (0.3, 0.3)
    tuned = complete(LABELS, y, p, threshold={"recall_at_least": 0.9})
    assert [(p[y[:, code], code] >= at).mean() >= 0.9 for code, at in enumerate(tuned.label.thresholds)] == [True, True]
    assert list(tuned.thresholds) == ["p", "s"]


def test_a_threshold_that_no_row_can_meet_says_the_best():
    y, p = np.array([True, False, True, False]), np.array([0.1, 0.9, 0.8, 0.7])
    with pytest.raises(
        DataError, match=r"no threshold has a precision of 0\.9 on the validation fold; the best is 0\.5, at 0\.8"
    ):
        complete(BINARY, y, p, threshold={"precision_at_least": 0.9})
    with pytest.raises(DataError, match="no row of the validation fold is of the positive class"):
        complete(BINARY, y[:0], p[:0], threshold={"maximise": "f1"})


@pytest.mark.parametrize("method", ["isotonic", "sigmoid", "temperature"])
@pytest.mark.parametrize("label", [BINARY, CLASSES, LABELS], ids=lambda label: label.kind)
def test_calibrated_probabilities_are_better_on_other_rows_and_thresholds_are_of_them(label, method):
    (y, p), (others, given) = overconfident(label, 4000), overconfident(label, 4000)
    completed = complete(label, y, p, calibrate=method)
    calibrated = completed.numbers(given)
    before, after = (measure_predictions(label, others, of, replicates=0)["log_loss"].value for of in (given, calibrated))
    assert after < 0.9 * before
    if label.kind != "classes":
        both = complete(label, y, p, calibrate=method, threshold={"maximise": "f1"})
        alone = complete(label, y, completed.numbers(p), threshold={"maximise": "f1"})
        assert both.label == alone.label and both.calibrator == completed.calibrator


def test_bands_are_calibrated_before_their_interval_is_adjusted():
    label = Bands("double", (1.0, 2.0), 0.0, 3.0, (0.5, 1.5, 2.5))
    y = np.linspace(0, 3, 300)
    p = np.where(np.arange(3) == label.codes(y)[:, None], 0.96, 0.02)[DRAW.permutation(300)]  # knows nothing
    completed = complete(label, y, p, calibrate="temperature")
    assert np.abs(completed.numbers(p) - 1 / 3).max() < 0.05
    assert completed.label == complete(label, y, completed.numbers(p)).label
