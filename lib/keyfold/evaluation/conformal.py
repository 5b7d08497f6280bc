"""Intervals of predicted numbers by split conformal prediction."""

from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from keyfold.errors import DataError


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
    exact = Fraction(str(share))
    place = ceil((len(error) + 1) * exact)  # among the errors in ascending order, from 1
    if place > len(error):
        rows, least = "1 row" if len(error) == 1 else f"{len(error)} rows", ceil(exact / (1 - exact))
        raise DataError(
            f"{option}: an interval that covers {share:.15g} needs at least {least:,} labelled rows in the validation fold, which has "
            f"{rows}; give the validation fold a larger share of the rows, or ask for less coverage"
        )
    return float(np.partition(error, place - 1)[place - 1])
