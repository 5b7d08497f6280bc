"""Quantiles of counted doubles, independent of the order and partition of rows, and of the offset and unit of the numbers.

Counts of up to 16,384 different numbers are exact. More numbers are cut (toward zero) to as many binary digits as leave 16,384
different ones, but not to fewer than 9, so quantiles are always within 0.4 %. Cut numbers can be cut further, so that counts of parts
add up to those of the whole.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Doubles, Int64s

DIGITS = 53  # of a double
_FEWEST = 9
_MOST = 1 << 14


def count_numbers(x: Doubles) -> tuple[Doubles, Int64s, int]:
    """The different numbers, cut; the count of each; the digits left."""
    bits = x.view(np.int64)
    digits = _left(np.sort(bits[: 4 * _MOST]), DIGITS)  # more rows never leave more digits
    values, amounts = np.unique(bits >> (DIGITS - digits), return_counts=True)
    return shorten_counts((values << (DIGITS - digits)).view(np.float64), amounts, digits)


def shorten_counts(x: Doubles, amounts: Int64s, digits: int) -> tuple[Doubles, Int64s, int]:
    """Cuts counted numbers to at most `digits`; returns the same as `count_numbers`."""
    bits = x.view(np.int64)
    order = np.argsort(bits)
    bits, amounts = bits[order], amounts[order]
    digits = _left(bits, digits)
    short = bits >> (DIGITS - digits)
    starts = np.flatnonzero(_new(short))
    return (short[starts] << (DIGITS - digits)).view(np.float64) + 0.0, np.add.reduceat(amounts, starts), digits


def _left(bits: Int64s, digits: int) -> int:
    """The most digits that leave few enough different numbers; `bits`: ascending bits of doubles."""

    def different(left: int) -> int:
        return int(_new(bits >> (DIGITS - left)).sum())

    return max(_FEWEST, _FEWEST - 1 + bisect_right(range(_FEWEST, digits + 1), _MOST, key=different))


def _new(ascending: Int64s) -> npt.NDArray[np.bool_]:
    """A mask of those that differ from the one before."""
    return np.concatenate([[True], ascending[1:] != ascending[:-1]])


def quantiles_at(x: Doubles, amounts: Int64s, shares: Sequence[float]) -> list[float]:
    """For each share, the smallest number such that at least this share of the numbers is not above it."""
    order = np.argsort(x)
    reached = np.cumsum(amounts[order])
    places = np.searchsorted(reached, np.ceil(np.array(shares) * reached[-1]), side="left")
    return [float(x[order][min(i, len(order) - 1)]) for i in places]
