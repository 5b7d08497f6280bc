"""Long frames by tiles: rows of one hour or day (UTC) are summed once, and frames add up whole tiles.

The order of the sum is defined: the rows of the first tile, newest first; then each whole tile, its rows oldest first; then, if the frame
ends within a tile, that tile's rows, oldest first. So each row is summed twice, once from either end of its tile, whatever the length of
the frame. Deviations are merged as in Chan, Golub and LeVeque (1983).
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from keyfold.core.arrays import Doubles, Int64s

Merge = Callable[[Doubles, Doubles], Doubles]


class TileSums(NamedTuple):
    """What is summed by tiles: (1 + sums) x n of n single values, the number of values first, and that of two parts together."""

    single: Callable[[Doubles], Doubles]
    merge: Merge


class Tiles:
    """The tiles of sorted rows. `start`: the place where each row's series begins; `at`, `width`: microseconds."""

    def __init__(self, start: Int64s, at: Int64s, width: int) -> None:
        self.width = width
        self._tile = at // width
        new = np.concatenate([[True], (np.diff(self._tile) != 0) | (np.diff(start) != 0)])[: len(at)]
        self._number = np.cumsum(new) - 1
        self._first = np.flatnonzero(new)
        self._length = np.diff(np.append(self._first, len(at)))
        self._known: dict[tuple[Merge, int], _Summed] = {}

    def over(self, summed: TileSums, x: Doubles, first: Int64s, last: Int64s, until: Int64s) -> Doubles:
        """The number of values in each frame and their sums: (1 + sums) x frames.

        `first`, `last`: the places of the frames' rows (an empty frame ends before it begins); `until`: the times at which they end.
        """
        single, merge = summed
        key = merge, id(x)
        if key not in self._known:
            self._known[key] = _Summed(self, single(x), merge, single(np.full(1, np.nan)))
        return self._known[key].over(first, last, until)


class _Summed:
    """The sums of one column from the beginning of each tile, and from its end."""

    def __init__(self, tiles: Tiles, one: Doubles, merge: Merge, none: Doubles) -> None:
        self.tiles, self.one, self.merge, self.none = tiles, one, merge, none

    def over(self, first: Int64s, last: Int64s, until: Int64s) -> Doubles:
        tiles = self.tiles
        filled = np.flatnonzero(last >= first)
        sums = np.repeat(self.none, len(first), axis=1)
        first, last = first[filled], last[filled]
        begin, end = tiles._number[first], tiles._number[last]
        within = tiles._tile[last] == until[filled] // tiles.width  # the frame ends within a tile
        head = np.where(within & (begin == end), self.none, self._from_end[:, first])
        between = self._whole(begin + 1, end - within)
        tail = np.where(within, self._from_begin[:, last], self.none)
        sums[:, filled] = self.merge(self.merge(head, between), tail)
        return sums

    @cached_property
    def _from_begin(self) -> Doubles:
        return self._along(self.tiles._first, 1)

    @cached_property
    def _from_end(self) -> Doubles:
        return self._along(self.tiles._first + self.tiles._length - 1, -1)

    def _along(self, begin: Int64s, step: int) -> Doubles:
        """For each row the sums from `begin` of its tile up to it."""
        order = np.argsort(-self.tiles._length, kind="stable")
        begin, length = begin[order], self.tiles._length[order]
        sums = self.one.copy()
        tiles = np.searchsorted(-length, -np.arange(1, length.max(initial=1)), side="left")
        for number, many in enumerate(tiles.tolist(), 1):
            here = begin[:many] + step * number
            sums[:, here] = self.merge(sums[:, here - step], self.one[:, here])
        return sums

    def _whole(self, first: Int64s, last: Int64s) -> Doubles:
        """The sums of whole tiles from one number to another, oldest first. Few pairs of numbers differ, so each is computed once."""
        total = self._from_begin[:, self.tiles._first + self.tiles._length - 1]
        pairs, of = np.unique(np.stack([first, np.maximum(last, first - 1)]), axis=1, return_inverse=True)
        pairs = pairs[:, order := np.argsort(pairs[0] - pairs[1], kind="stable")]
        length = pairs[1] - pairs[0] + 1
        sums = np.repeat(self.none, pairs.shape[1], axis=1)
        longer = np.searchsorted(-length, -np.arange(length.max(initial=0)), side="left")
        for number, many in enumerate(longer.tolist()):
            sums[:, :many] = self.merge(sums[:, :many], total[:, pairs[0, :many] + number])
        return sums[:, np.argsort(order)[of.reshape(-1)]]
