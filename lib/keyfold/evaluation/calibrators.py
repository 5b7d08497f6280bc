"""Calibration: maps a model's probabilities to those that held-out rows show, fitted by scikit-learn and applied by NumPy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Bools, Doubles
from keyfold.errors import DataError

METHODS = ("isotonic", "sigmoid", "temperature")
_EPS = 1e-12  # keeps logarithms finite


@dataclass(frozen=True)
class Isotonic:
    """A map of probabilities that is linear between points. x: ascending probabilities; y: calibrated ones."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, p: Doubles) -> Doubles:
        """Calibrated probabilities, of the same shape."""
        x, y = np.array(self.x), np.array(self.y)
        if len(x) == 1:
            return np.where(np.isnan(p), np.nan, y[0])
        after = np.clip(np.searchsorted(x, p), 1, len(x) - 1)
        # Not np.interp, whose way of computing depends on the number of rows.
        slope = (y[after] - y[after - 1]) / (x[after] - x[after - 1])
        inside = np.clip(p, x[0], x[-1])
        return np.clip(y[after - 1] + slope * (inside - x[after - 1]), y[0], y[-1])


@dataclass(frozen=True)
class Logistic:
    """A logistic function of the log-odds; a temperature is one without an intercept."""

    slope: float
    intercept: float = 0.0

    def __call__(self, p: Doubles) -> Doubles:
        """Calibrated probabilities, of the same shape."""
        p = np.ascontiguousarray(np.clip(p, _EPS, 1 - _EPS))
        return 1 / (1 + np.exp(-(self.slope * (np.log(p) - np.log1p(-p)) + self.intercept)))


@dataclass(frozen=True)
class Softmax:
    """The softmax function of the logarithms of a row's probabilities, times the inverse of a temperature."""

    slope: float

    def __call__(self, p: Doubles) -> Doubles:
        """Calibrated probabilities (n, k)."""
        powers = self.slope * _logarithms(p)
        return _shares(np.exp(powers - powers.max(axis=1, keepdims=True)))


@dataclass(frozen=True)
class Columns:
    """A map of each column, None for one that stays as it is. shares: whether each row is then divided by its sum."""

    maps: tuple[Isotonic | Logistic | None, ...]
    shares: bool

    def __call__(self, p: Doubles) -> Doubles:
        """Calibrated probabilities (n, k)."""
        columns = [column if one is None else one(column) for column, one in zip(p.T, self.maps, strict=True)]
        calibrated = np.ascontiguousarray(np.stack(columns, axis=1))
        return _shares(calibrated) if self.shares else calibrated


Calibrator = Isotonic | Logistic | Softmax | Columns
"""A function of probabilities, (n,) or (n, k), that returns calibrated ones row by row: the same bits in any batch and order."""

_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Isotonic, Logistic, Softmax, Columns)}


def fit_calibrator(y: ArrayLike, p: ArrayLike, method: str, *, exclusive: bool = True) -> Calibrator:
    """The calibrator of a method on held-out rows.

    y: n booleans with n probabilities p; or n codes of classes, -1 for an unknown one, with probabilities (n, k); or (n, k) booleans
    with probabilities (n, k), which are calibrated each alone (`exclusive=False`).
    isotonic, sigmoid: for classes, each against the rest, and divided by their sum; a class that no row or each row has stays as it is.
    temperature: one number for all classes.
    Raises DataError if there is no row, or if a binary label has one class only.
    """
    truth, probability = np.asarray(y), np.asarray(p, np.float64)
    if probability.ndim == 1 and (truth.all() or not truth.any()):
        which = f"all {len(truth):,} rows" if len(truth) else "none of 0 rows"
        raise DataError(f"label.calibrate: the validation fold needs rows of both classes; {which} are of one class")
    if probability.ndim == 1:
        return _fit_column(truth.astype(bool), probability, method)
    known = truth >= 0 if exclusive else np.ones(len(truth), bool)
    if not known.any():
        raise DataError("label.calibrate: the validation fold has no row of a known class; give it a larger share of the rows")
    if exclusive and method == "temperature":
        return Softmax(_inverse_temperature(truth[known], _logarithms(probability[known])))
    has = truth[:, None] == np.arange(probability.shape[1]) if exclusive else truth.astype(bool)
    maps = [
        None if one.all() or not one.any() else _fit_column(one, column, method)
        for one, column in zip(has.T, probability.T, strict=True)
    ]
    return Columns(tuple(maps), shares=exclusive)


def to_json(calibrator: Calibrator) -> dict[str, Any]:
    """A calibrator as JSON values."""
    values = dict(vars(calibrator))
    if isinstance(calibrator, Columns):
        values["maps"] = [one and to_json(one) for one in calibrator.maps]
    return {"kind": type(calibrator).__name__.lower(), **values}


def from_json(saved: dict[str, Any]) -> Calibrator:
    """The calibrator of JSON values. Raises ValueError, KeyError or TypeError if they are damaged."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items() if name != "kind"}
    if "maps" in values:
        values["maps"] = tuple(one and from_json(one) for one in values["maps"])
    calibrator: Calibrator = _KINDS[saved["kind"]](**values)
    if isinstance(calibrator, Isotonic) and not 0 < len(calibrator.x) == len(calibrator.y):
        raise ValueError("an isotonic calibrator needs as many x as y")
    return calibrator


def _fit_column(y: Bools, p: Doubles, method: str) -> Isotonic | Logistic:
    from sklearn.calibration import _SigmoidCalibration
    from sklearn.isotonic import IsotonicRegression

    if method == "isotonic":
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, y)
        return Isotonic(*(tuple(map(float, points)) for points in (fitted.X_thresholds_, fitted.y_thresholds_)))
    if method == "temperature":
        return Logistic(_inverse_temperature(y.astype(np.int64), _logarithms(np.stack([1 - p, p], axis=1))))
    clipped = np.clip(p, _EPS, 1 - _EPS)
    fitted = _SigmoidCalibration().fit(np.log(clipped) - np.log1p(-clipped), y.astype(np.float64))
    return Logistic(-float(fitted.a_), -float(fitted.b_))


def _inverse_temperature(codes: Any, logarithms: Doubles) -> float:
    from sklearn.calibration import _TemperatureScaling

    return float(_TemperatureScaling().fit(logarithms, codes).beta_)


def _logarithms(p: Doubles) -> Doubles:
    return np.log(np.ascontiguousarray(p) + _EPS)  # as scikit-learn


def _shares(values: Doubles) -> Doubles:
    """Rows divided by their sum; equal shares where the sum is 0."""
    total = values.sum(axis=1, keepdims=True)
    return np.where(total > 0, values / np.where(total > 0, total, 1.0), 1 / values.shape[1])
