"""Intervals of predicted numbers and of predicted distributions by split conformal prediction."""

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.errors import DataError
from keyfold.evaluation.by_row import by_blocks
from keyfold.labels import Bands, Number

_GROUPS, _LEAST = 10, 50  # groups of rows whose errors are alike, and the rows that each needs
_SMALLEST = 1e-3  # least size of errors, as a share of the largest
_ROUNDING = 1e-9  # of quantiles, so that the row that decides is inside


def conformal_half_width(
    y: ArrayLike, predicted: ArrayLike, share: float, *, difficulty: ArrayLike | None = None, option: str = "label.interval"
) -> float:
    """Half the width of an interval around each predicted number that holds the true number with probability `share`, at least.

    y, predicted: n numbers of rows on which the model was not trained. share: above 0 and below 1.
    difficulty: n numbers above 0, an estimate of the size of each row's error; the half width of a row is then the result times its
    difficulty. The guarantee is that of the finite sample, for rows that are drawn as these are.
    Raises DataError, which names `option`, if there are too few rows for the share, or if a difficulty is not above 0.
    """
    error = np.abs(np.asarray(y, np.float64) - np.asarray(predicted, np.float64))
    if difficulty is not None:
        scale = np.asarray(difficulty, np.float64)
        if not np.all(scale > 0):
            raise DataError(f"{option}: the difficulty of each row must be above 0 (got {scale.min()})")
        error = error / scale
    place = ceil((len(error) + 1) * Fraction(str(share)))  # among the errors in ascending order, from 1
    if place > len(error):
        rows, least = "1 row" if len(error) == 1 else f"{len(error)} rows", rows_for_interval(share)
        raise DataError(
            f"{option}: an interval that covers {share:.15g} needs at least {least:,} labelled rows in the validation fold, which has "
            f"{rows}; give the validation fold a larger share of the rows, or ask for less coverage"
        )
    return float(np.partition(error, place - 1)[place - 1])


def scaled_interval(label: Number, y: ArrayLike, predicted: ArrayLike) -> Number:
    """The label with intervals that cover the share `label.interval`, and are as wide as errors are at the predicted number.

    y, predicted: n numbers of rows on which the model was not trained, as the estimator learns them. The sizes of errors are fitted on
    every second row, the multiple of them on the others, so that new rows are covered with the guarantee of `conformal_half_width`.
    Raises DataError if there are too few rows.
    """
    truth, numbers, share = np.asarray(y, np.float64), np.asarray(predicted, np.float64), label.interval
    assert share is not None
    if len(truth) < (least := 2 * rows_for_interval(share)):
        raise DataError(
            f"label.interval: a scaled interval that covers {share:.15g} needs at least {least:,} labelled rows in the validation "
            f"fold, which has {len(truth):,}; give the validation fold a larger share of the rows, or leave `scaled` out"
        )
    points, sizes = error_sizes(numbers[::2], np.abs(truth - numbers)[::2], share)
    label = replace(label, points=points, sizes=sizes)
    difficulty = label.difficulty(numbers[1::2])
    return replace(label, error=conformal_half_width(truth[1::2], numbers[1::2], share, difficulty=difficulty))


def error_sizes(predicted: Doubles, error: Doubles, share: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Ascending predicted numbers, and at each the size above 0 that the share of the errors of rows nearby does not exceed.

    predicted, error: n numbers, n > 0. Rows are taken together by their predicted number, some 50 at least, in ten groups at most.
    """
    places = np.lexsort((error, predicted))
    groups = np.array_split(places, min(_GROUPS, max(1, len(places) // _LEAST)))
    points = np.array([np.median(predicted[group]) for group in groups])
    sizes = np.array([np.quantile(error[group], share) for group in groups])
    points, first = np.unique(points, return_index=True)
    least = max(sizes.max() * _SMALLEST, np.finfo(np.float64).tiny)
    return tuple(points.tolist()), tuple(np.maximum(sizes[first], least).tolist())


def rows_for_interval(share: float) -> int:
    """The least number of rows for an interval that covers the share."""
    exact = Fraction(str(share))
    return ceil(exact / (1 - exact))


def central_share(label: Bands, y: ArrayLike, p: ArrayLike) -> float:
    """The share of each predicted distribution, around its median, that holds the true number with probability `label.interval`.

    y: n numbers of rows on which the model was not trained; p: (n, k) probabilities of the bands. At most 1.
    Raises DataError as `conformal_half_width`.
    """
    truth, numbers = np.asarray(y, np.float64), np.asarray(p, np.float64)
    from_median = by_blocks(lambda y, p: _from_median(label, y, p), truth, numbers)
    half = conformal_half_width(from_median, np.zeros(len(from_median)), label.interval)
    return min(1.0, 2 * half + _ROUNDING)


def _from_median(label: Bands, y: Doubles, p: Doubles) -> Doubles:
    """How far the true number is from the median, as a share of the predicted distribution (n); 0 to 0.5."""
    ends, pieces = label.pieces(p)
    start, width = ends[:-1], np.diff(ends)
    part = np.clip((y[:, None] - start) / np.where(width > 0, width, 1), 0, 1)
    below = (pieces * np.where(width > 0, part, y[:, None] > start)).sum(axis=1)
    up_to = (pieces * np.where(width > 0, part, y[:, None] >= start)).sum(axis=1)
    return np.maximum(0, np.maximum(below - 0.5, 0.5 - up_to))
