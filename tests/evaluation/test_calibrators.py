"""Calibrators against scikit-learn, and that they answer row by row."""

import json

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.naive_bayes import GaussianNB

from keyfold.errors import DataError
from keyfold.evaluation import calibrators

N, K = 400, 5


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * N, 6))
    y = (X[:, :K] * 2 + rng.normal(size=(2 * N, K))).argmax(axis=1)
    return FrozenEstimator(GaussianNB().fit(X[:60], y[:60])), X, y


@pytest.fixture
def binary():
    rng = np.random.default_rng(1)
    p = np.append(rng.beta(0.5, 1, N), [0.0, 1.0, 1.0])
    return rng.random(len(p)) < p**2, p


@pytest.mark.parametrize("method", ["isotonic", "sigmoid", "temperature"])
def test_a_binary_calibrator_improves_the_log_loss_and_keeps_the_order(binary, method):
    y, p = binary
    calibrated = calibrators.fit_calibrator(y, p, method)(p)
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    assert (np.diff(calibrated[np.argsort(p)]) >= 0).all()
    assert np.mean((calibrated - y) ** 2) < np.mean((p - y) ** 2)


def test_isotonic_is_that_of_scikit_learn(binary):
    y, p = binary
    new = np.linspace(-0.0, 1, 999)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(p[:300], y[:300])
    assert calibrators.fit_calibrator(y[:300], p[:300], "isotonic")(new) == pytest.approx(fitted.predict(new), abs=1e-12)


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_classes_are_calibrated_as_by_scikit_learn(model, method):
    estimator, X, y = model
    p = estimator.predict_proba(X)
    expected = CalibratedClassifierCV(estimator, method=method).fit(X[:N], y[:N]).predict_proba(X)
    assert calibrators.fit_calibrator(y[:N], p[:N], method)(p) == pytest.approx(expected, abs=1e-7)


def fitted(method, kind):
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(40, 0.2), N) if kind == "classes" else rng.random((N, 40))
    if kind == "binary":
        return calibrators.fit_calibrator(rng.random(N) < p[:, 0], p[:, 0], method), p[:, 0]
    if kind == "classes":
        return calibrators.fit_calibrator(rng.integers(-1, 39, N), p, method), p
    return calibrators.fit_calibrator(rng.random((N, 40)) < p * (np.arange(40) > 0), p, method, exclusive=False), p


@pytest.mark.parametrize("kind", ["binary", "classes", "labels"])
@pytest.mark.parametrize("method", calibrators.METHODS)
def test_answers_are_row_by_row_and_as_before_after_json(method, kind):
    calibrator, p = fitted(method, kind)
    whole = calibrator(p)
    assert whole.shape == p.shape
    assert np.isfinite(whole).all()
    for rows in (np.arange(N)[::-1], np.arange(7), [3], np.arange(N) % 2 == 1):
        assert np.array_equal(calibrator(p[rows]), whole[rows])
        assert np.array_equal(calibrator(np.asfortranarray(p)[rows]), whole[rows])
    saved = json.loads(json.dumps(calibrators.to_json(calibrator)))
    assert calibrators.from_json(saved) == calibrator
    assert np.array_equal(calibrators.from_json(saved)(p), whole)
    if kind == "classes":
        assert whole.sum(axis=1) == pytest.approx(np.ones(N))


def test_a_label_without_rows_stays_as_it_is():
    calibrator, p = fitted("isotonic", "labels")
    assert np.array_equal(calibrator(p)[:, 0], p[:, 0])


def test_classes_that_all_have_probability_zero_share_it():
    y, p = np.repeat([0, 1], 20), np.tile([0.5, 0.5, 0.0], (40, 1))
    calibrator = calibrators.Columns((calibrators.Isotonic((0.0, 1.0), (0.0, 0.0)),) * 3, shares=True)
    assert calibrator(p) == pytest.approx(np.full((40, 3), 1 / 3))
    assert calibrators.fit_calibrator(y, p, "isotonic")(p)[:, 2].max() == 0


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([True, True], [0.1, 0.2], "needs rows of both classes; all 2 rows are of one class"),
        ([], [], "needs rows of both classes; none of 0 rows"),
        ([-1, -1], [[0.5, 0.5]] * 2, "no row of a known class; give"),
    ],
)
def test_rows_that_cannot_calibrate_are_refused(y, p, message):
    with pytest.raises(DataError, match=f"label.calibrate: the validation fold (has )?{message}"):
        calibrators.fit_calibrator(y, p, "sigmoid")


@pytest.mark.parametrize(
    "saved", [{}, {"kind": "isotonic", "x": [], "y": []}, {"kind": "other"}, {"kind": "logistic", "tilt": 1}]
)
def test_damaged_json_is_refused(saved):
    with pytest.raises((ValueError, KeyError, TypeError)):
        calibrators.from_json(saved)
