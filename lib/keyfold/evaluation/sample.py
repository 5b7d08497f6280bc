"""Labels and predictions as arrays that are checked, and sorted so that the order of the rows does not matter."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.labels import Bands, Binary, Classes, Label, Multilabel, Number


class Sample(NamedTuple):
    """Labels of n rows, predictions by one or several models, and the rows' weights (n)."""

    y: npt.NDArray[Any]
    predicted: list[Doubles]
    weight: Doubles


def checked_sample(
    label: Label, y: ArrayLike, predicted: Sequence[ArrayLike], weight: ArrayLike | None, order: ArrayLike | None
) -> Sample:
    """Arrays in the form that a kind of label needs (`measure_predictions`), sorted by `order`, if there is one, and by all values.

    Raises ValueError for different lengths, a value that is not finite, or one out of range.
    """
    truth: npt.NDArray[Any] = np.asarray(y, np.bool_ if isinstance(label, Multilabel) else np.float64)
    numbers = [np.asarray(p, np.float64) for p in predicted]
    weights = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    rows, width = (len(truth),), (len(truth), label.width)
    _check("y", truth, width if isinstance(label, Multilabel) else rows)
    for p in numbers:
        _check("predictions", p, width if isinstance(label, Bands | Classes | Multilabel) else rows)
        if not isinstance(label, Number) and p.size and (p.min() < 0 or p.max() > 1):
            raise ValueError("The predictions of a class must be probabilities, from 0 to 1.")
    _check("weight", weights, rows)
    if np.any(weights < 0):
        raise ValueError(f"The weight of a row must be 0 or more. Got {weights.min()} instead.")
    sample = Sample(_codes(label, truth), numbers, weights)
    return sample if order is None else _sorted(sample, np.asarray(order, np.int64))


def checked_pair(labels: Sequence[Label], y: ArrayLike, predicted: Sequence[ArrayLike], order: ArrayLike) -> Sample:
    """Predictions for labels whose y is the same, as `checked_sample` checks and sorts those of one label."""
    samples = [checked_sample(label, y, [numbers], None, None) for label, numbers in zip(labels, predicted, strict=True)]
    together = samples[0]._replace(predicted=[sample.predicted[0] for sample in samples])
    return _sorted(together, np.asarray(order, np.int64))


def _check(name: str, values: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if values.shape != shape or not np.isfinite(values).all():
        each = "one finite number" if len(shape) == 1 else f"{shape[1]} finite numbers"
        raise ValueError(f"The {name} must be {each} per row, {shape[0]} rows in all.")


def _codes(label: Label, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if isinstance(label, Binary) and np.any((y != 0) & (y != 1)):
        raise ValueError("The y of two classes must be booleans, or 0 and 1.")
    if not isinstance(label, Classes):
        return y
    if np.any((y < -1) | (y >= label.width) | (y % 1 != 0)):
        raise ValueError(f"The y of classes must be codes from 0 to {label.width - 1}, or -1 for an unknown class.")
    return y.astype(np.int64)


def _sorted(sample: Sample, order: npt.NDArray[np.int64]) -> Sample:
    if (order[1:] > order[:-1]).all():  # without a copy, which for many labels would be the largest array of all
        return sample
    if len(np.unique(order)) == len(order):
        rows = np.argsort(order)
    else:
        columns = [column for values in (sample.y, *sample.predicted) for column in np.atleast_2d(values.T)]
        rows = np.lexsort((*columns, sample.weight, order))
    return Sample(sample.y[rows], [p[rows] for p in sample.predicted], sample.weight[rows])
