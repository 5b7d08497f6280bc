"""The naive model of a kind of label, which answers the same for each row; a model that learns should do better."""

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.labels import Bands, Binary, Classes, Label, Multilabel, Number


def naive_predictions(label: Label, y: ArrayLike, rows: int, *, weight: ArrayLike | None = None) -> Doubles:
    """What a naive model predicts for that many rows, as `measure_predictions` takes it.

    y: the labels of the m rows of the train fold, in the form of `measure_predictions`; weight: m numbers >= 0.
    number: their mean. binary, classes, bands: the shares of the classes. labels: the share of the rows that have each label.
    Raises ValueError without a row.
    """
    truth = np.asarray(y)
    if not len(truth):
        raise ValueError("A naive model needs a row of the train fold.")
    weights = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    constant = (weights * _learned(label, truth).T).sum(axis=-1) / weights.sum()
    return np.tile(constant, (rows, *[1] * np.ndim(constant)))


def _learned(label: Label, y: ArrayLike) -> Doubles:
    """What the naive model takes the mean of: (m) numbers, or (m, k) with 1 for a class or label that the row has."""
    match label:
        case Number() | Binary() | Multilabel():
            return np.asarray(y, np.float64)
        case Bands():
            codes = label.codes(np.asarray(y, np.float64))
        case Classes():
            codes = np.asarray(y, np.intp)
        case _:
            raise TypeError(f"no naive model for a label of kind {label.kind}")
    return (codes[:, None] == np.arange(label.width)).astype(np.float64)
