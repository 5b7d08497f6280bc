"""The window kernel: NumPy over rows sorted by series and time; the same code for a history, a new day and a single event.

Each frame is summed oldest first in IEEE doubles (variance and slope in two passes). So the bits depend only on the rows of the frame,
not on batches, partitions or earlier computations. Missing values (NaN) are left out; an undefined result is NaN.
"""

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from keyfold.core.arrays import Doubles, Int64s
from keyfold.windows.frame_statistics import Frame, Frames, SeriesRows, Times, first_needed, frame_ends
from keyfold.windows.statistics import STATISTICS, Running, Sums, Take
from keyfold.windows.tiles import Tiles


class Window(NamedTuple):
    """A column: the statistic `take` of the input `value` over a frame; NaN with fewer than `least` values."""

    name: str
    value: str
    take: Take
    frame: Frame
    least: int = 1
    alpha: float = 0.5

    @property
    def running(self) -> Running:
        """The statistic of everything so far."""
        running = STATISTICS[self.take].running
        assert running is not None, f"{self.take} needs a frame that ends"
        return running(self.alpha)


class ComputedWindows:
    """The windows of rows, and the past that later rows of the same series need."""

    def __init__(self, windows: Sequence[Window], rows: SeriesRows) -> None:
        self.windows, self.rows = windows, rows
        self.of = np.flatnonzero(rows.own)
        self._times = Times(rows)
        self._frames: dict[Frame, Frames] = {}
        self._running: dict[Window, Doubles] = {}
        self._tiles: dict[int, Tiles] = {}

    def column(self, window: Window) -> Doubles:
        """The window's values on own rows, float64."""
        frames, x, statistic = self._frame(window.frame), self.rows.values[window.value], STATISTICS[window.take]
        if window.frame.tile or window in summing_windows(self.windows):
            if window.frame.tile:
                sums = self._tiled(window, window.frame.tile)
            else:
                sums = self._accumulated(window)[frames.end + 1 + self._times.series[frames.of]].T
            assert statistic.result is not None
            with np.errstate(invalid="ignore", divide="ignore"):
                known, result = sums[0], statistic.result(sums[1:], sums[0], frames.at(x, frames.end))
        else:
            known = frames.length if statistic.places else frames.count(x)
            result = statistic.frame(frames, x, window.alpha)
        return np.where(known >= window.least, result, np.nan)

    def _frame(self, frame: Frame) -> Frames:
        if frame not in self._frames:
            self._frames[frame] = Frames(self.rows, self.of, *frame_ends(frame, self._times, self.of))
        return self._frames[frame]

    def _tiled(self, window: Window, width: int) -> Doubles:
        if width not in self._tiles:
            self._tiles[width] = Tiles(self.rows.start, self.rows.at, width)
        summed = STATISTICS[window.take].tiles
        assert summed is not None
        frames, lag, at = self._frame(window.frame), window.frame.lag, self.rows.at[self.of]
        until = at if lag.rows is not None else lag.before(at)
        return self._tiles[width].over(summed, self.rows.values[window.value], frames.first, frames.end, until)

    # --- everything so far ---

    def _accumulated(self, window: Window) -> Doubles:
        """(rows + series) x sums: for each series the sums before its first row, then up to each row."""
        if window not in self._running:
            empty, step = window.running
            x, starts = self.rows.values[window.value], np.unique(self.rows.start)
            sums = np.empty((len(x) + len(starts), len(empty)))
            for number, (start, end) in enumerate(itertools.pairwise([*starts.tolist(), len(x)])):
                begin = self._begin(window, start)
                sums[start + number : end + number + 1] = list(itertools.accumulate(x[start:end].tolist(), step, initial=begin))
            self._running[window] = sums
        return self._running[window]

    def _begin(self, window: Window, start: int) -> Sums:
        known = self.rows.sums.get(start)
        return window.running.begin if known is None else tuple(known[self._places[window]])

    @cached_property
    def _places(self) -> dict[Window, slice]:
        ends = itertools.accumulate(_widths(self.windows), initial=0)
        return {w: slice(*pair) for w, pair in zip(summing_windows(self.windows), itertools.pairwise(ends), strict=True)}

    # --- the past that later rows need ---

    def past(self, last: Int64s) -> tuple[Int64s, Doubles]:
        """For series with these last rows: the first place that later rows need, and the sums before it (series x sums)."""
        start, keep = self.rows.start[last], last + 1
        for frame in {window.frame for window in self.windows}:
            keep = np.minimum(keep, np.maximum(first_needed(frame, self._times, last), start))
        before = [self._accumulated(w)[keep + self._times.series[last]] for w in summing_windows(self.windows)]
        return keep, np.concatenate(before, axis=1) if before else np.zeros((len(last), 0))


def summing_windows(windows: Sequence[Window]) -> list[Window]:
    """The windows that need running sums of everything so far."""
    return [w for w in windows if w.frame.so_far and (w.least > 1 or len(w.running.begin) > 1)]


def _widths(windows: Sequence[Window]) -> list[int]:
    return [len(w.running.begin) for w in summing_windows(windows)]


def summed_width(windows: Sequence[Window]) -> int:
    """The number of running sums of all windows."""
    return sum(_widths(windows))
