"""The naive model of a kind of label, which answers the same for each row; a model that learns should do better."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.labels import Bands, Binary, Classes, Label, Multilabel, Number


def naive_predictions(label: Label, y: Any, rows: int, *, weight: ArrayLike | None = None) -> Doubles:
    """What a naive model predicts for that many rows, as `measure_predictions` takes it.

    y: the labels of the m rows of the train fold, in the form of `measure_predictions`, several labels also as a sparse matrix;
    weight: m numbers >= 0.
    number: their mean. binary, classes, bands: the shares of the classes. labels: the share of the rows that have each label.
    Raises ValueError without a row.
    """
    truth = y if hasattr(y, "tocsr") else np.asarray(y)
    if not truth.shape[0]:
        raise ValueError("A naive model needs a row of the train fold.")
    weights = np.ones(truth.shape[0]) if weight is None else np.asarray(weight, np.float64)
    constant = _totals(label, truth, weights) / weights.sum()
    return np.tile(constant, (rows, *[1] * np.ndim(constant)))


def _totals(label: Label, y: Any, weights: Doubles) -> Doubles:
    """The sum of the numbers, or (k) the weight of the rows that have each class or label."""
    match label:
        case Multilabel() if hasattr(y, "tocsr"):
            return y.T @ weights  # type: ignore[no-any-return]
        case Number() | Binary() | Multilabel():
            return (weights * y.T).sum(axis=-1)  # type: ignore[no-any-return]
        case Bands():
            codes = label.codes(y.astype(np.float64))
        case Classes():
            codes = y.astype(np.intp)
        case _:
            raise TypeError(f"no naive model for a label of kind {label.kind}")
    known = codes >= 0
    return np.bincount(codes[known], weights[known], label.width).astype(np.float64)
