"""scikit-learn estimators by name: built, fitted on features, saved and loaded with skops, which accepts only listed types."""

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from keyfold.core.section import Section
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features import matrix
from keyfold.features.matrix import Outs
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Label, Multilabel, Number
from keyfold.models import estimators
from keyfold.models.blocks import block_size, block_size_of_rows, one_thread, predict_in_blocks, sequential
from keyfold.models.examples import Examples
from keyfold.models.prior import Corrected
from keyfold.models.probabilities import class_probabilities, label_probabilities
from keyfold.models.several_labels import fit_labels
from keyfold.models.tree_paths import Trees

PACKAGES = ("sklearn",)
ESTIMATOR_FILE = "estimator.skops"
# Types within scikit-learn's own estimators that skops does not trust by default.
TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "functools.partial",  # of the next function, in gradient boosting with categories
    "sklearn.utils.validation.check_array",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
)
# Trees, and SciPy's product of a sparse matrix, compute row by row: exact without blocks, which would take a forest of 100 trees five times as long.
# Of all but the last, nothing runs in threads of OpenMP or BLAS, so that threads of one process may predict at once.
_ROW_BY_ROW = {("tree.", "ensemble._forest."): sequential, ("ensemble._hist_gradient_boosting.",): one_thread}
ROW_BY_ROW_IF_SPARSE = tuple(
    f"linear_model._{name}." for name in ("base", "coordinate_descent", "logistic", "ridge", "stochastic_gradient")
)


class Sklearn(Section):
    """An estimator of scikit-learn and its parameters."""

    estimator: str = Field(
        examples=["sklearn.linear_model.LogisticRegression"], description="Full name of a classifier or regressor."
    )
    params: dict[str, Any] = Field(default_factory=dict, examples=[{"C": 0.1}], description="Parameters of the estimator.")
    chain: bool = Field(
        False,
        exclude_if=lambda chain: not chain,
        description="For a label of several labels: each one learns from those before it too, in an order by the seed.",
    )

    @model_validator(mode="after")
    def _known(self) -> "Sklearn":
        accepted = estimators.known_estimators().get(self.estimator, [])
        if not accepted or not set(self.params) <= set(accepted):  # the installed release may differ from the list
            try:
                accepted = list(inspect.signature(self.estimator_class()).parameters)
            except ConfError as error:
                raise ValueError(str(error)) from error
        for name in self.params:
            if name not in accepted:
                raise ValueError(f"{self.estimator} has no parameter `{name}`{suggestion(name, accepted)}")
        return self

    def estimator_class(self) -> type[Any]:
        """The estimator's class; raises ConfError if the name is unknown or outside the allowed packages."""
        module, _, name = self.estimator.rpartition(".")
        if full := not module and estimators.full_names(name):
            raise ConfError(f"estimator `{name}` must be named in full: {' or '.join(full)}")
        if module.split(".")[0] not in PACKAGES:
            raise ConfError(f"estimator `{self.estimator}` must come from {', '.join(PACKAGES)}")
        try:
            cls = vars(importlib.import_module(module)).get(name)
        except ImportError:
            cls = None
        if not (isinstance(cls, type) and hasattr(cls, "fit") and hasattr(cls, "predict")):
            raise ConfError(f"there is no estimator `{self.estimator}`{estimators.estimator_suggestion(name)}")
        return cls

    def fit(self, spec: Spec, rows: Examples, seed: int, run: object = None) -> "Estimator":
        """The estimator, fitted on features, labels (booleans or codes for a classifier) and weights."""
        from sklearn.utils import get_tags

        cls = self.estimator_class()
        accepted = inspect.signature(cls).parameters
        estimator = cls(**({"random_state": seed} if "random_state" in accepted else {}) | self.params)
        sparse = bool(get_tags(estimator).input_tags.sparse)
        if "categorical_features" in accepted and not sparse and any(columns := matrix.categorical_columns(spec.outs)):
            estimator.set_params(categorical_features=columns)
        weights = {} if rows.weight is None else {"sample_weight": rows.weight}
        fitted = Estimator(estimator, spec, sparse)
        features = fitted.matrix(rows.arrays)
        fitted.estimator = (
            fit_labels(estimator, features, rows.y, weights, chain=seed if self.chain else None)
            if rows.y.ndim == 2
            else estimator.fit(features, rows.y, **weights)
        )
        return fitted

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters for MLflow."""
        return {"estimator": self.estimator, **({"chain": True} if self.chain else {}), **self.params}

    @property
    def classifies(self) -> bool:
        """Whether the model predicts a class."""
        from sklearn.base import is_classifier

        return bool(is_classifier(self.estimator_class()(**self.params)))


class Estimator(Corrected):
    """A fitted estimator with the spec of its features."""

    packages: tuple[str, ...] = ()  # required besides those of keyfold

    def __init__(self, estimator: Any, spec: Spec, sparse: bool) -> None:
        self.estimator, self.spec, self.sparse = estimator, spec, sparse

    @property
    def facts(self) -> dict[str, Any]:
        """What the file of the estimator does not say, as JSON."""
        return {"sparse": self.sparse}

    def matrix(self, arrays: FeatureArrays) -> Any:
        """The features as a sparse or dense matrix, as the estimator takes them."""
        return self._matrix_of(arrays, self.spec.outs)

    def feature_matrix(self, name: str, arrays: FeatureArrays) -> Any:
        """The columns of one feature in `matrix`."""
        return self._matrix_of(arrays, {name: self.spec.outs[name]})

    def _matrix_of(self, arrays: FeatureArrays, outs: Outs) -> Any:
        return (matrix.sparse_matrix if self.sparse else matrix.dense_matrix)(arrays, outs)

    @property
    def widths(self) -> list[int]:
        """The number of columns of each feature in `matrix`."""
        return [out.columns if self.sparse else out.length or 0 for out in self.spec.outs.values()]

    @cached_property
    def trees(self) -> Trees | None:
        """The paths of the estimator's trees, None if it has none; their players are the features."""
        return Trees.of(self.estimator, [place for place, width in enumerate(self.widths) for _ in range(width)])

    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> npt.NDArray[np.float64]:
        """Predicted numbers of n rows: (n,), or (n, k) for a label of k numbers."""
        if isinstance(label, Number):
            return label.inverted(self._blocked(arrays, self.estimator.predict))
        if isinstance(label, Multilabel):
            return self._blocked(arrays, partial(label_probabilities, self.estimator), label.width).reshape(-1, label.width)
        if label.width == 1:
            return self._blocked(arrays, lambda rows: class_probabilities(self.estimator, rows)[:, 1])
        learnt = self._blocked(arrays, partial(class_probabilities, self.estimator), label.width)
        if learnt.shape[1:] == (label.width,):
            return learnt
        numbers = np.zeros((len(next(iter(arrays.values()))), label.width))
        if len(numbers):
            numbers[:, self.estimator.classes_] = learnt
        return numbers

    @property
    def _class(self) -> type[Any]:
        """The class of the estimator, or of those of its labels."""
        several = self.estimator if isinstance(self.estimator, list) else [self.estimator]
        return next((type(one) for one in several if not isinstance(one, float)), float)

    @property
    def _copied_columns(self) -> int:
        """The number of columns whose coefficients SciPy copies for each product, which it does if they are not in the order of columns."""
        coefficients = getattr(self.estimator, "coef_", None)
        if coefficients is None or coefficients.T.flags.c_contiguous:
            return 1
        return int(coefficients.shape[-1])

    def _blocked(self, arrays: FeatureArrays, predict: Callable[[Any], Any], width: int = 1) -> npt.NDArray[np.float64]:
        """What a function of rows of the matrix predicts for all rows, `width` numbers each."""
        rows = self.matrix(arrays)
        module = self._class.__module__.removeprefix("sklearn.") + "."
        by_rows = next((limit for names, limit in _ROW_BY_ROW.items() if module.startswith(names)), None)
        if self.sparse and module.startswith(ROW_BY_ROW_IF_SPARSE):
            by_rows = nullcontext
        if by_rows is None:
            return predict_in_blocks(lambda places: predict(rows[places]), rows.shape[0], block_size(self.spec.outs.values()))
        at_once = 1 if isinstance(self.estimator, list) else width  # those of a list are called one by one, for each block
        size = block_size_of_rows(rows.shape[0], at_once, self._copied_columns)
        return predict_in_blocks(lambda places: predict(rows[places]), rows.shape[0], size, by_rows)

    def save(self, folder: Path) -> None:
        """Writes the estimator without pickle; raises DataError if it contains types that cannot be loaded safely."""
        data = _skops().dumps(self.estimator)
        if unsafe := _untrusted(data):
            raise DataError(f"{self._class.__name__} cannot be saved safely: it contains {', '.join(sorted(unsafe))}")
        (folder / ESTIMATOR_FILE).write_bytes(data)

    @classmethod
    def load(cls, folder: Path, spec: Spec, *, sparse: bool) -> "Estimator":
        """Reads a saved estimator; skops refuses types that are not listed."""
        data = (folder / ESTIMATOR_FILE).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trusted = set(_skops().get_untrusted_types(data=data)) - _untrusted(data)
            return cls(_skops().loads(data, trusted=sorted(trusted)), spec, sparse)


def import_libraries() -> None:
    """Imports scikit-learn and skops. After MLflow's 3,000 modules it takes a second more, since skops searches all modules."""
    _skops()


def _skops() -> Any:
    """skops.io, without the list of trusted types that it builds from all of scikit-learn, which takes seconds in each worker."""
    if "skops.io" not in sys.modules:
        import sklearn.utils

        all_estimators = sklearn.utils.all_estimators
        sklearn.utils.all_estimators = list
        try:
            importlib.import_module("skops.io")
        finally:
            sklearn.utils.all_estimators = all_estimators
    return sys.modules["skops.io"]


def _untrusted(data: bytes) -> set[str]:
    """The types in a file that are neither estimators of scikit-learn nor in TRUSTED."""
    return {name for name in _skops().get_untrusted_types(data=data) if name not in TRUSTED and not _is_estimator(name)}


def _is_estimator(name: str) -> bool:
    from sklearn.base import BaseEstimator

    module, _, class_name = name.rpartition(".")
    if module.split(".")[0] not in PACKAGES:
        return False
    cls = getattr(importlib.import_module(module), class_name, None)
    return isinstance(cls, type) and issubclass(cls, BaseEstimator)
