"""Probabilities of fitted estimators of scikit-learn, of classes and of several labels."""

from typing import Any

import numpy as np

from keyfold.core.arrays import Doubles


def class_probabilities(estimator: Any, rows: Any) -> Doubles:
    """Probabilities of the classes that an estimator learnt, for n rows (n, classes); of its scores, if it gives no probabilities."""
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(rows)  # type: ignore[no-any-return]
    scores = estimator.decision_function(rows)
    if scores.ndim == 1:
        positive = sigmoid(scores)
        return np.stack([1 - positive, positive], axis=1)
    return softmax(scores)


def label_probabilities(fitted: Any, rows: Any) -> Doubles:
    """Probabilities of k labels for n rows (n, k), by what `keyfold.models.several_labels` fitted."""
    if isinstance(fitted, list):
        return np.stack([_probability(estimator, rows) for estimator in fitted], axis=1)
    if hasattr(fitted, "coef_"):
        scores = fitted.decision_function(rows)
        # The one linear estimator of scikit-learn whose probability of one of two classes is not the sigmoid.
        return (np.clip(scores, -1, 1) + 1) / 2 if getattr(fitted, "loss", "") == "modified_huber" else sigmoid(scores)
    if not hasattr(fitted, "predict_proba"):
        return sigmoid(fitted.decision_function(rows))
    probabilities = fitted.predict_proba(rows)
    if not isinstance(probabilities, list):
        return probabilities  # type: ignore[no-any-return]
    return np.stack(list(map(_of_label, probabilities, fitted.classes_)), axis=1)


def _probability(estimator: Any, rows: Any) -> Doubles:
    if isinstance(estimator, float):
        return np.full(rows.shape[0], estimator)
    return class_probabilities(estimator, rows)[:, 1]


def _of_label(probabilities: Doubles, classes: Any) -> Doubles:
    """The probability that rows have a label; one that all rows of the train fold have, or none, is constant."""
    return probabilities[:, 1] if len(classes) == 2 else np.full(len(probabilities), float(classes[0]))


def softmax(scores: Doubles) -> Doubles:
    """Probabilities (n, k) that sum to 1 for each row, of scores (n, k)."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def sigmoid(scores: Doubles) -> Doubles:
    """The probability of each score."""
    with np.errstate(over="ignore"):  # exp(-score) is infinite, and the probability 0
        return 1 / (1 + np.exp(-scores))  # type: ignore[no-any-return]
