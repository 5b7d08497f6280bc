"""Estimators for a label of several labels a row, over one matrix of features.

A fitted estimator is one of three: an estimator of scikit-learn for all k labels at once (trees, forests, networks, chains); a linear
one whose coefficients are those of k binary ones, so that a row's scores are one product; or a list of k binary ones, in which a number
is the probability of a label that all rows of the train fold have, or none.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keyfold.core.arrays import Bools, Doubles
from keyfold.errors import DataError
from keyfold.models.blocks import one_thread_of


def fit_labels(estimator: Any, rows: Any, y: Any, weights: Mapping[str, Any], *, chain: int | None = None) -> Any:
    """An estimator of k labels, fitted on a matrix of n rows.

    y: (n, k) booleans, an array or a sparse matrix. weights: `sample_weight` of the rows, or nothing. chain: the seed of the order in which
    each label learns from those before it, if it shall. Raises DataError if a chain has a label that all rows have, or none.
    """
    from scipy import sparse
    from sklearn.utils import get_tags

    columns = sparse.csc_array(y)
    if chain is not None:
        return _chain(estimator, rows, columns, weights, chain)
    tags = get_tags(estimator).classifier_tags
    if tags and tags.multi_label:
        return estimator.fit(rows, columns.toarray().astype(np.int8), **weights)
    return _fit_each(estimator, rows, columns, weights)


def _chain(estimator: Any, rows: Any, columns: Any, weights: Mapping[str, Any], seed: int) -> Any:
    from sklearn.multioutput import ClassifierChain

    has = np.diff(columns.indptr)
    if constant := np.flatnonzero((has == 0) | (has == columns.shape[0])).tolist():
        raise DataError(
            f"train.model.sklearn.chain: {len(constant)} of {columns.shape[1]} labels are those of all training rows or of none, and a "
            "chain cannot learn them; raise label.min_frequency, or leave out `chain`"
        )
    chain = ClassifierChain(estimator, order="random", random_state=seed)
    return chain.fit(rows, columns.toarray().astype(np.int8), **weights)


def _fit_each(estimator: Any, rows: Any, columns: Any, weights: Mapping[str, Any]) -> Any:
    """One binary estimator for each label, in threads: most of scikit-learn's solvers release Python's lock."""
    import joblib
    from sklearn.base import clone
    from sklearn.linear_model._base import LinearClassifierMixin

    k = columns.shape[1]
    linear = isinstance(estimator, LinearClassifierMixin)
    coefficients = np.zeros((rows.shape[1], k)) if linear else np.empty(0)
    intercepts = np.zeros(k)

    def fit(code: int) -> Any:
        y = _column(columns, code)
        if (share := float(y.mean())) in (0.0, 1.0):
            intercepts[code] = np.inf if share else -np.inf
            return share
        with one_thread_of("openmp"):  # a setting of each thread
            fitted = clone(estimator).fit(rows, y, **weights)
        if linear:
            coefficients[:, code], intercepts[code] = fitted.coef_[0], fitted.intercept_[0]
        return None if linear else fitted

    # One thread for BLAS: more are slower for vectors, and the bits of a sum depend on their number.
    with one_thread_of("blas"), joblib.parallel_config("threading", n_jobs=-1):
        fitted = joblib.Parallel()(joblib.delayed(fit)(code) for code in range(k))
    return _stacked(estimator, coefficients, intercepts) if linear else fitted


def _column(columns: Any, code: int) -> Bools:
    y = np.zeros(columns.shape[0], bool)
    start, end = columns.indptr[code : code + 2]
    y[columns.indices[start:end]] = columns.data[start:end]
    return y


def _stacked(estimator: Any, coefficients: Doubles, intercepts: Doubles) -> Any:
    """A linear estimator of k labels. The transposed coefficients are in order of rows, in which SciPy multiplies without a copy."""
    estimator.coef_, estimator.intercept_ = coefficients.T, intercepts
    estimator.classes_, estimator.n_features_in_ = np.arange(len(intercepts)), len(coefficients)
    return estimator
