"""scikit-learn estimators by name: built, fitted on features, saved with skops, loaded with a fixed list of types."""

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from keyfold.core.section import Section
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features import matrix
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.models import estimators
from keyfold.models.blocks import block_size, predict_in_blocks

PACKAGES = ("sklearn",)
ESTIMATOR_FILE = "estimator.skops"
# What skops does not trust by itself, though scikit-learn's own trees and calibrators hold it.
TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "functools.partial",  # of this one function, in gradient boosting with categories
    "sklearn.utils.validation.check_array",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
)
# Trees take rows one by one, and so does SciPy's product of a sparse matrix. Blocks would only cost: a forest of 100 trees five times its time.
ROW_BY_ROW = ("tree.", "ensemble._forest.", "ensemble._hist_gradient_boosting.")
ROW_BY_ROW_IF_SPARSE = tuple(
    f"linear_model._{name}." for name in ("base", "coordinate_descent", "logistic", "ridge", "stochastic_gradient")
)


class Sklearn(Section):
    """An estimator by its full name, `sklearn.linear_model.LogisticRegression`, and its parameters."""

    estimator: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> "Sklearn":
        accepted = estimators.known_estimators().get(self.estimator, [])
        if (
            not set(self.params) <= set(accepted) or not accepted
        ):  # of another release, or one that only scikit-learn itself knows
            try:
                accepted = list(inspect.signature(self.named()).parameters)
            except ConfError as error:
                raise ValueError(str(error)) from error
        for name in self.params:
            if name not in accepted:
                raise ValueError(f"{self.estimator} has no parameter `{name}`{suggestion(name, accepted)}")
        return self

    def named(self) -> type[Any]:
        """The estimator's class (ConfError for a name outside the allowed packages, or an unknown one)."""
        module, _, name = self.estimator.rpartition(".")
        if full := not module and estimators.full_names(name):
            raise ConfError(f"estimator `{name}` must be named in full: {' or '.join(full)}")
        if module.split(".")[0] not in PACKAGES:
            raise ConfError(f"estimator `{self.estimator}` must come from {', '.join(PACKAGES)}")
        try:
            found = vars(importlib.import_module(module)).get(name)
        except ImportError:
            found = None
        if not (isinstance(found, type) and hasattr(found, "fit") and hasattr(found, "predict")):
            raise ConfError(f"there is no estimator `{self.estimator}`{estimators.estimator_suggestion(name)}")
        return found

    def fit(
        self, spec: Spec, arrays: FeatureArrays, y: npt.NDArray[Any], weight: npt.NDArray[Any] | None, seed: int
    ) -> "Estimator":
        """Fitted on features, a label (booleans for a classifier) and weights."""
        from sklearn.utils import get_tags

        params = dict(self.params)
        named = self.named()
        if "random_state" in inspect.signature(named).parameters:
            params.setdefault("random_state", seed)
        estimator = named(**params)
        sparse = bool(get_tags(estimator).input_tags.sparse)
        categorical = "categorical_features" in inspect.signature(named).parameters
        if categorical and not sparse and any(of := matrix.categorical_columns(spec.outs)):
            estimator.set_params(categorical_features=of)
        weights = {} if weight is None else {"sample_weight": weight}
        fitted = Estimator(estimator, spec, sparse)
        estimator.fit(fitted.matrix(arrays), y, **weights)
        return fitted

    @property
    def said(self) -> dict[str, Any]:
        """Its parameters, for MLflow."""
        return {"estimator": self.estimator, **self.params}

    @property
    def classifies(self) -> bool:
        """Whether it predicts a class."""
        from sklearn.base import is_classifier

        return bool(is_classifier(self.named()(**self.params)))


class Estimator:
    """A fitted estimator with the spec whose features it takes."""

    packages: tuple[str, ...] = ()  # that it needs besides keyfold's own

    def __init__(self, estimator: Any, spec: Spec, sparse: bool) -> None:
        self.estimator, self.spec, self.sparse = estimator, spec, sparse

    def matrix(self, arrays: FeatureArrays) -> Any:
        """Features as the estimator takes them."""
        make = matrix.sparse_matrix if self.sparse else matrix.dense_matrix
        return make(arrays, self.spec.outs)

    def probability(self, arrays: FeatureArrays) -> npt.NDArray[np.float64]:
        """Of the positive class, in [0, 1]."""
        if hasattr(self.estimator, "predict_proba"):
            return self._blocked(arrays, lambda rows: self.estimator.predict_proba(rows)[:, 1])
        return self._blocked(arrays, lambda rows: 1 / (1 + np.exp(-self.estimator.decision_function(rows))))

    def value(self, arrays: FeatureArrays) -> npt.NDArray[np.float64]:
        """A regressor's prediction."""
        return self._blocked(arrays, self.estimator.predict)

    def _blocked(self, arrays: FeatureArrays, predict: Callable[[Any], Any]) -> npt.NDArray[np.float64]:
        rows = self.matrix(arrays)
        module = type(self.estimator).__module__.removeprefix("sklearn.") + "."
        alone = module.startswith((*ROW_BY_ROW, *ROW_BY_ROW_IF_SPARSE) if self.sparse else ROW_BY_ROW)
        size = max(1, rows.shape[0]) if alone else block_size(self.spec.outs.values())
        return predict_in_blocks(lambda places: predict(rows[places]), rows.shape[0], size)

    def save(self, folder: Path) -> None:
        """Writes the estimator, without pickle (DataError where it holds types that could not be loaded safely)."""
        data = _skops().dumps(self.estimator)
        if odd := _odd(data):
            raise DataError(f"{type(self.estimator).__name__} cannot be saved safely: it holds {', '.join(sorted(odd))}")
        (folder / ESTIMATOR_FILE).write_bytes(data)

    @classmethod
    def load(cls, folder: Path, spec: Spec, *, sparse: bool) -> "Estimator":
        """Reads what `save` wrote; other types than the listed ones are refused by skops."""
        data = (folder / ESTIMATOR_FILE).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = set(_skops().get_untrusted_types(data=data)) - _odd(data)
            return cls(_skops().loads(data, trusted=sorted(known)), spec, sparse)


def _skops() -> Any:
    """skops.io, which would import all of scikit-learn to list what it trusts: seconds in every worker. We look for ourselves."""
    if "skops.io" not in sys.modules:
        import sklearn.utils

        known = sklearn.utils.all_estimators
        sklearn.utils.all_estimators = list
        try:
            importlib.import_module("skops.io")
        finally:
            sklearn.utils.all_estimators = known
    return sys.modules["skops.io"]


def _odd(data: bytes) -> set[str]:
    """The types in a file that are neither scikit-learn's estimators nor on the list."""
    return {name for name in _skops().get_untrusted_types(data=data) if name not in TRUSTED and not _is_estimator(name)}


def _is_estimator(name: str) -> bool:
    from sklearn.base import BaseEstimator

    module, _, own = name.rpartition(".")
    if module.split(".")[0] not in PACKAGES:
        return False
    found = getattr(importlib.import_module(module), own, None)
    return isinstance(found, type) and issubclass(found, BaseEstimator)
