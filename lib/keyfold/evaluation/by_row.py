"""Scores of each row for which rows are computed a few at a time, so that memory stays small."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Bools, Doubles, Int64s

_BLOCK = 1 << 20  # rows × classes that are computed at once
_TOP = 3


def by_blocks(function: Callable[..., npt.NDArray[Any]], *arrays: npt.NDArray[Any]) -> Doubles:
    """A function of rows, computed for a few rows at a time."""
    size = max(1, _BLOCK // max(array[:1].size for array in arrays)) if len(arrays[0]) else 1
    parts = [function(*(array[start : start + size] for array in arrays)) for start in range(0, len(arrays[0]), size)]
    return np.concatenate([np.empty(0), *parts])


def in_top(p: Doubles, of_truth: Doubles, codes: Int64s) -> Bools:
    """Whether the true class is one of the three most probable ones; of equals, the first are more probable.

    p: (n, k) probabilities; of_truth: (n) that of the true class; codes: (n) of the true class, k for an unknown one.
    """
    before = np.arange(p.shape[1]) < codes[:, None]
    above = (p > of_truth[:, None]) | ((p == of_truth[:, None]) & before)
    return (above.sum(axis=1) < _TOP) & (codes < p.shape[1])


def crps(ends: Doubles, y: Doubles, p: Doubles) -> Doubles:
    """The continuous ranked probability scores (n) of distributions that are uniform within each of k bands.

    It is the integral of the squared distance between the predicted distribution function and that of the true number, in its unit.
    ends: k + 1 ascending numbers; y: n true numbers; p: (n, k) probabilities of the bands.
    """
    width, total = np.diff(ends), np.cumsum(p, axis=1)
    start, end = np.hstack([np.zeros((len(p), 1)), total[:, :-1]]), total
    part = np.clip((y[:, None] - ends[:-1]) / np.where(width > 0, width, 1.0), 0, 1)
    middle = start + part * (end - start)

    def area(a: Doubles, b: Doubles) -> Doubles:
        """The mean of the square of a line from a to b."""
        return (a * a + a * b + b * b) / 3

    inside = width * (part * area(start, middle) + (1 - part) * area(1 - middle, 1 - end))
    return inside.sum(axis=1) + np.maximum(ends[0] - y, 0) + np.maximum(y - ends[-1], 0)


def gaussian_crps(y: Doubles, mean: Doubles, deviation: float) -> Doubles:
    """The continuous ranked probability scores (n) of Gaussians around n means, with one standard deviation, in the unit of all three.

    With a deviation of 0, they are the absolute errors.
    """
    from scipy.special import ndtr

    error = np.abs(y - mean)
    if deviation <= 0:
        return error
    z = error / deviation
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))  # type: ignore[no-any-return]


def ranking_precision(y: Bools, p: Doubles) -> Doubles:
    """For each row, the mean over its labels of the share of true ones among those that are as probable; 1 if all or none is true.

    y: (n, k) booleans; p: (n, k) probabilities.
    """
    descending = np.argsort(-p, axis=1)
    y, p = np.take_along_axis(y, descending, axis=1), np.take_along_axis(p, descending, axis=1)
    # The last place of each label's equals: the first end of a group at or after it.
    places = np.where(np.hstack([p[:, 1:] != p[:, :-1], np.ones((len(p), 1), bool)]), np.arange(p.shape[1]), p.shape[1])
    last = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
    precision = np.take_along_axis(np.cumsum(y, axis=1), last, axis=1) / (last + 1)
    count = y.sum(axis=1)
    return np.where(count > 0, (precision * y).sum(axis=1) / np.maximum(count, 1), 1.0)


def labels_to_cover(y: Bools, p: Doubles) -> Doubles:
    """The number of the most probable labels that have all true ones among them (n); 0 without a true one. y, p: as above."""
    least = np.where(y, p, np.inf).min(axis=1)
    return (p >= least[:, None]).sum(axis=1).astype(np.float64)
