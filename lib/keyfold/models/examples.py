"""The rows that a model is fitted on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core import hashing
from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.features.kind import Array
from keyfold.features.spec import FeatureArrays
from keyfold.labels import Label

SALT = "bag"


class Examples(NamedTuple):
    """Rows that a model is fitted on, in the order of the hash of their key.

    y: the label as `Label.encode` returns it. weight: (n), None if all are 1. order: the hash of each row's key (n). part: a number of
    each row (n), equal for rows that the split keeps together; None if no model needs it. validation: rows on which the weights of
    members are tuned.
    """

    arrays: FeatureArrays
    y: npt.NDArray[Any]
    weight: Doubles | None
    label: Label
    order: Int64s
    part: Int64s | None = None
    validation: "Examples | None" = None

    def totals(self, classes: int) -> Doubles:
        """The sum of the weights of each class (classes)."""
        return np.bincount(self.y.astype(np.intp), self.weight, classes).astype(np.float64)

    def take(self, places: npt.NDArray[np.intp]) -> "Examples":
        """The rows at these places, which may be repeated."""
        weight = None if self.weight is None else self.weight[places]
        part = None if self.part is None else self.part[places]
        return Examples(
            take_rows(self.arrays, places), self.y[places], weight, self.label, self.order[places], part, self.validation
        )

    def filter(self, mask: Bools) -> "Examples":
        """The rows whose boolean in `mask` (n) is true."""
        return self.take(np.flatnonzero(mask))

    def drawn(self, member: int, share: float) -> "Examples":
        """The rows of one member of a bag: each as often as a Poisson number with mean `share`, by the hash of its key."""
        place = hashing.reduce(hashing.feature_hash(SALT, [self.order, np.array([member])]), hashing.PARTS)
        return self.take(np.repeat(np.arange(len(place)), np.searchsorted(_poisson(share), place, side="right")))


def take_rows(arrays: Mapping[str, Array], places: npt.NDArray[np.intp]) -> FeatureArrays:
    """The features of the rows at these places."""
    return {
        name: array.take(pa.array(places)) if isinstance(array, pa.Array) else array[places] for name, array in arrays.items()
    }


def _poisson(mean: float) -> Int64s:
    """The distribution function of a Poisson number, in millionths, at 0, 1, …"""
    from scipy.stats import poisson

    return np.floor(poisson.cdf(np.arange(20), mean) * hashing.PARTS).astype(np.int64)
