"""The window kernel: NumPy over rows in the order of series and time; the same code for a history, a new day and a single event.

Each frame is summed oldest first, in IEEE doubles (variance and slope in two passes), so the bits depend on the rows of the frame
alone: not on batches, partitions or what was computed before. Missing values (NaN) are left out; what cannot be told is NaN.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Doubles, Int64s
from keyfold.core.types import MICROS
from keyfold.windows.tiles import Tiles

Sums = tuple[float, ...]  # how many values, and what is kept of them
Take = Literal[
    "count", "sum", "mean", "min", "max", "std", "share", "slope", "ewm", "first", "last", "lag", "difference", "return"
]
DAY = MICROS["day"]
PLACES = ("lag", "difference", "return")  # of a frame that is full: what is so many rows before


class Span(NamedTuple):
    """How far something reaches: rows, microseconds or calendar months (in UTC); none of them: everything so far."""

    rows: int | None = None
    micros: int | None = None
    months: int | None = None

    def before(self, at: Int64s) -> Int64s:
        """Microseconds since 1970: the time that is so long before."""
        if self.months is None:
            return at - (self.micros or 0)
        month = at.astype("M8[us]").astype("M8[M]")
        since = at - month.astype("M8[us]").astype(np.int64)
        there = month - self.months
        days = ((there + 1).astype("M8[D]") - there.astype("M8[D]")).astype(np.int64)
        day = np.minimum(since // DAY, days - 1)  # the last of a shorter month
        return there.astype("M8[us]").astype(np.int64) + day * DAY + since % DAY  # type: ignore[no-any-return]


class Frame(NamedTuple):
    """Which rows of its series a row looks at, those in [t - over - lag, t - lag), or in (t - over - lag, t - lag] with `current`.

    With `tile` (microseconds) they are summed by whole tiles, see `keyfold.windows.tiles`.
    """

    over: Span
    lag: Span = Span(rows=0)
    current: bool = False
    tile: int | None = None

    @property
    def so_far(self) -> bool:
        """Whether it begins where the series does."""
        return self.over == Span()


class Window(NamedTuple):
    """A column to make: `take` of the input `value` over a frame; with fewer than `least` values it is NaN."""

    name: str
    value: str
    take: Take
    frame: Frame
    least: int = 1
    alpha: float = 0.5


class SeriesRows(NamedTuple):
    """Rows in order: of each the place where its series begins and its time in microseconds; `own`: those that are asked for.

    The others are what is left of their series' past. `sums`: by place where a series begins, what its windows over everything
    so far have taken in before it.
    """

    start: Int64s
    at: Int64s
    values: Mapping[str, Doubles]
    own: npt.NDArray[np.bool_]
    sums: Mapping[int, Sequence[float]]


class ComputedWindows:
    """The windows over some rows: their columns, and the past that later rows of the same series need."""

    def __init__(self, windows: Sequence[Window], rows: SeriesRows) -> None:
        self.windows, self.rows = windows, rows
        self.of = np.flatnonzero(rows.own)
        self._times = _Times(rows)
        self._frames: dict[Frame, _Frames] = {}
        self._running: dict[Window, Doubles] = {}
        self._tiles: dict[int, Tiles] = {}

    def column(self, window: Window) -> Doubles:
        """float64 of own rows."""
        frames, x = self._frame(window.frame), self.rows.values[window.value]
        if window.frame.tile or window in summing_windows(self.windows):
            if window.frame.tile:
                taken = self._tiled(window, window.frame.tile)
            else:
                taken = self._accumulated(window)[frames.end + 1 + self._times.series[frames.of]].T
            with np.errstate(invalid="ignore", divide="ignore"):
                known, found = taken[0], _TOLD[window.take](taken[1:], taken[0], frames.at(x, frames.end))
        else:
            known = frames.length if window.take in (*PLACES, "first", "last") else frames.count(x)
            found = _TAKES[window.take](frames, x, window)
        return np.where(known >= window.least, found, np.nan)

    def _frame(self, frame: Frame) -> "_Frames":
        if frame not in self._frames:
            self._frames[frame] = _Frames(self.rows, self.of, *_ends(frame, self._times, self.of))
        return self._frames[frame]

    def _tiled(self, window: Window, width: int) -> Doubles:
        if width not in self._tiles:
            self._tiles[width] = Tiles(self.rows.start, self.rows.at, width)
        frames, lag, at = self._frame(window.frame), window.frame.lag, self.rows.at[self.of]
        until = at if lag.rows is not None else lag.before(at)
        return self._tiles[width].over(window.take, self.rows.values[window.value], frames.first, frames.end, until)

    # --- everything so far ---

    def _accumulated(self, window: Window) -> Doubles:
        """(rows + series, sums): of each series what was taken in before its first row, then up to each row."""
        if window not in self._running:
            fresh, step = _STEPS[window.take](window)
            x, starts = self.rows.values[window.value], np.unique(self.rows.start)
            found = np.empty((len(x) + len(starts), len(fresh)))
            for number, (start, end) in enumerate(itertools.pairwise([*starts.tolist(), len(x)])):
                begin = self._begin(window, start)
                found[start + number : end + number + 1] = list(itertools.accumulate(x[start:end].tolist(), step, initial=begin))
            self._running[window] = found
        return self._running[window]

    def _begin(self, window: Window, start: int) -> Sums:
        known = self.rows.sums.get(start)
        return _STEPS[window.take](window)[0] if known is None else tuple(known[self._places[window]])

    @cached_property
    def _places(self) -> dict[Window, slice]:
        ends = itertools.accumulate(_widths(self.windows), initial=0)
        return {w: slice(*pair) for w, pair in zip(summing_windows(self.windows), itertools.pairwise(ends), strict=True)}

    # --- what later rows need ---

    def past(self, last: Int64s) -> tuple[Int64s, Doubles]:
        """For series whose last rows are these: from which place on later rows need theirs, and the sums before that place (series, sums)."""
        start, keep = self.rows.start[last], last + 1
        for frame in {window.frame for window in self.windows}:
            keep = np.minimum(keep, np.maximum(_needed(frame, self._times, last), start))
        before = [self._accumulated(w)[keep + self._times.series[last]] for w in summing_windows(self.windows)]
        return keep, np.concatenate(before, axis=1) if before else np.zeros((len(last), 0))


def summing_windows(windows: Sequence[Window]) -> list[Window]:
    """The windows that need sums of everything so far."""
    return [w for w in windows if w.frame.so_far and (w.take != "last" or w.least > 1)]


def _widths(windows: Sequence[Window]) -> list[int]:
    return [len(_STEPS[w.take](w)[0]) for w in summing_windows(windows)]


def summed_width(windows: Sequence[Window]) -> int:
    """How many numbers the sums of all windows are."""
    return sum(_widths(windows))


# --- frames ---


def whole_range(places: Int64s) -> slice | None:
    """Ascending places as a slice, where none is left out between them."""
    return slice(places[0], places[-1] + 1) if len(places) and places[-1] - places[0] + 1 == len(places) else None


def _at(x: npt.NDArray[Any], places: Int64s) -> npt.NDArray[Any]:
    """`x[places]` of ascending places, without a copy where that can be."""
    whole = whole_range(places)
    return x[places if whole is None else whole]


def _ends(frame: Frame, times: "_Times", of: Int64s) -> tuple[Int64s, Int64s]:
    """The first and the last place of each frame; the last is before the first where it is empty."""
    start, at = _at(times.rows.start, of), _at(times.rows.at, of)
    timed, lag = frame.over.rows is None and not frame.so_far, frame.lag
    if lag.rows is not None and not (timed and not frame.current and not lag.rows):
        last = of - lag.rows - (not frame.current)
    else:
        own = int(frame.current or lag != Span(rows=0))  # whether the row itself may be in its frame
        last = (of if not own and times.distinct else times.first(of, lag.before(at) + frame.current, of + own)) - 1
    if frame.so_far:
        return start, last
    if frame.over.rows is not None:
        return np.maximum(last - frame.over.rows + 1, start), last
    begin = frame.over.before(lag.before(at) if lag.rows is None else at)
    return times.first(of, begin + frame.current, of + 1), last


def _needed(frame: Frame, times: "_Times", last: Int64s) -> Int64s:
    """The first place that frames of rows after `last` may reach."""
    at, lag = times.rows.at[last], frame.lag
    behind = last + 1 - (lag.rows or 0) if lag.rows is not None else times.first(last, lag.before(at), last + 1)
    if frame.so_far:
        return behind - 1  # a difference takes the last row of the frame
    if frame.over.rows is not None:
        return behind - frame.over.rows
    begin = frame.over.before(lag.before(at) if lag.rows is None else at)
    if frame.over.months is not None:
        begin = begin - 3 * DAY  # a later day of the month may begin its frame up to three days before
    return np.minimum(behind, times.first(last, begin, last + 1))


_NEAR = 16  # rows that are looked at one after another before a search, which takes as long as twice as many


class _Times:
    """Rows by a key that grows over all of them, series after series, so that one search finds times within series."""

    def __init__(self, rows: SeriesRows) -> None:
        self.rows = rows
        self.series = np.cumsum(np.diff(rows.start, prepend=0) > 0)
        self._low = int(rows.at.min(initial=0))
        self._span = int(rows.at.max(initial=0)) - self._low + 2
        times = rows.at - self._low
        self._ranked: Int64s | None = None
        if int(self.series[-1:].sum()) + 1 > 2**62 // self._span:
            self._ranked, times = np.unique(rows.at, return_inverse=True)
            self._span = len(self._ranked) + 1
        self._begin = self.series * self._span
        self._keys = np.concatenate([np.full(_NEAR, -1), self._begin + times])

    @cached_property
    def distinct(self) -> bool:
        """Whether no series has two rows of one time."""
        return bool((self._keys[_NEAR + 1 :] > self._keys[_NEAR:-1]).all())

    def first(self, of: Int64s, bound: Int64s, high: Int64s) -> Int64s:
        """In the series of rows, the first place before `high` whose time is `bound` or later, else `high`."""
        if self._ranked is not None:
            times = np.searchsorted(self._ranked, bound)
        else:
            times = np.minimum(np.maximum(bound - self._low, 0), self._span - 1)
        keys = _at(self._begin, of) + times
        if whole := whole_range(high):
            place = high.copy()
            for ahead in range(_NEAR - 1, -1, -1):
                later = self._keys[whole.start + ahead : whole.stop + ahead] >= keys
                if not later.any():
                    return place
                place -= later
        return np.minimum(np.searchsorted(self._keys[_NEAR:], keys), high)


class _Frames:
    """The frames of own rows, by the places of their first and last rows."""

    def __init__(self, rows: SeriesRows, of: Int64s, first: Int64s, last: Int64s) -> None:
        self.rows, self.of, self.first, self.end = rows, of, first, np.maximum(last, first - 1)
        self.length = self.end - self.first + 1
        self._known: dict[tuple[str, int], Doubles] = {}
        self._missing: dict[int, bool] = {}

    @cached_property
    def _most(self) -> int:
        return int(self.length.max(initial=0))

    @cached_property
    def _shift(self) -> int | None:
        """How far behind its row each frame ends, where rows and frames are such that they can be stepped through as slices."""
        filled = self.length > 0
        behind = (self.of - self.end)[filled]
        regular = len(behind) > 0 and behind.min() == behind.max() and self.of[-1] - self.of[0] + 1 == len(self.of)
        return int(behind[0]) if regular and self._most * len(self.of) <= 4 * self.length.sum() else None

    @cached_property
    def _longest_first(self) -> Int64s:
        return np.argsort(-self.length, kind="stable")

    def oldest_first(self, *columns: tuple[Doubles, float]) -> "Iterator[tuple[Int64s | slice, list[Doubles], Int64s]]":
        """Steps through all frames at once: some of them, what the columns have there, and which of that is in none of the frames.

        In its place is the number that comes with each column.
        """
        if self._shift is not None:
            pad = max(0, self._most - 1 + self._shift - int(self.of[0]))
            padded = [(np.concatenate([np.full(pad, out), c]), out) for c, out in columns]
            short = np.flatnonzero(self.length < self._most)
            for back in range(self._most - 1, -1, -1):
                begin = int(self.of[0]) - self._shift - back + pad
                short = short[self.length[short] <= back]
                now = [c[begin : begin + len(self.of)] for c, _ in padded]
                held = [c[short] for c in now]
                for c, (_, out) in zip(now, padded, strict=True):
                    c[short] = out
                yield slice(None), now, short
                for c, former in zip(now, held, strict=True):
                    c[short] = former
            return
        lengths = self.length[self._longest_first]
        having = np.searchsorted(-lengths, -np.arange(self._most), side="left")
        for back in range(self._most - 1, -1, -1):
            some = self._longest_first[: having[back]]
            yield some, [c[self.end[some] - back] for c, _ in columns], some[:0]

    def _once(self, what: str, x: Doubles, make: Callable[[], Doubles]) -> Doubles:
        if (what, id(x)) not in self._known:
            self._known[what, id(x)] = make()
        return self._known[what, id(x)]

    def count(self, x: Doubles) -> Doubles:
        """Values that are there."""

        def make() -> Doubles:
            if not self._gaps(x):
                return self.length.astype(np.float64)
            before = np.concatenate([[0], np.cumsum(~np.isnan(x))])
            return (before[self.end + 1] - before[self.first]).astype(np.float64)  # type: ignore[no-any-return]

        return self._once("count", x, make)

    def sum(self, x: Doubles) -> Doubles:
        """Of the values that are there."""

        def make() -> Doubles:
            total = np.zeros(len(self.of))
            for some, (value,), _ in self.oldest_first((self._or(x, 0.0), 0.0)):
                _add_to(total, some, value)
            return total

        return self._once("sum", x, make)

    def mean(self, x: Doubles) -> Doubles:
        """NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return self._once("mean", x, lambda: self.sum(x) / self.count(x))

    def extreme(self, x: Doubles, choose: "np.ufunc", worst: float) -> Doubles:
        """The least or the greatest."""
        best = np.full(len(self.of), worst)
        for some, (value,), _ in self.oldest_first((self._or(x, worst), worst)):
            best[some] = choose(best[some], value)
        return best

    def std(self, x: Doubles) -> Doubles:
        """The deviation of a sample; NaN of fewer than two values."""
        mean, squares = self.mean(x), np.zeros(len(self.of))
        gaps = self._gaps(x)
        with np.errstate(invalid="ignore"):
            for some, (value,), out in self.oldest_first((x, np.nan)):
                off = value - mean[some]
                off[np.isnan(value) if gaps else out] = 0.0
                off *= off
                _add_to(squares, some, off)
        return _deviation(squares, self.count(x))

    def slope(self, x: Doubles) -> Doubles:
        """Of least squares, per day; NaN where all values are of one time."""
        n, middle, mean = self.count(x), np.zeros(len(self.of)), self.mean(x)
        zero = int(self.rows.at.min(initial=0))
        at = (self.rows.at - zero).astype(np.float64)
        now = at[self.of]
        above, below = np.zeros(len(self.of)), np.zeros(len(self.of))
        first, last = np.full(len(self.of), np.inf), np.full(len(self.of), -np.inf)
        for some, (value, time), _ in self.oldest_first((x, np.nan), (at, 0.0)):
            out = np.isnan(value)
            middle[some] += np.where(out, 0.0, (time - now[some]) / DAY)
            first[some] = np.minimum(first[some], np.where(out, np.inf, time))
            last[some] = np.maximum(last[some], np.where(out, -np.inf, time))
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = middle / n
            for some, (value, time), _ in self.oldest_first((x, np.nan), (at, 0.0)):
                out = np.isnan(value)
                off = np.where(out, 0.0, (time - now[some]) / DAY - middle[some])
                above[some] += off * np.where(out, 0.0, value - mean[some])
                below[some] += off * off
            return np.where((first < last) & (below > 0), above / below, np.nan)

    def ewm(self, x: Doubles, alpha: float) -> Doubles:
        """Weights (1 - alpha)^age in rows, which sum to 1."""
        total, weight = np.zeros(len(self.of)), np.zeros(len(self.of))
        there = (~np.isnan(x)).astype(np.float64)
        for some, (value, known), _ in self.oldest_first((self._or(x, 0.0), 0.0), (there, 0.0)):
            total[some] = total[some] * (1 - alpha) + value
            weight[some] = weight[some] * (1 - alpha) + known
        with np.errstate(invalid="ignore"):
            return total / weight

    def _gaps(self, x: Doubles) -> bool:
        """Whether some values are missing."""
        if id(x) not in self._missing:
            self._missing[id(x)] = bool(np.isnan(x).any())
        return self._missing[id(x)]

    def _or(self, x: Doubles, other: float) -> Doubles:
        return np.where(np.isnan(x), other, x) if self._gaps(x) else x

    def at(self, x: Doubles, place: Int64s) -> Doubles:
        """The values at a place of each frame, missing ones too."""
        return np.where(self.length > 0, x[np.clip(place, 0, len(x) - 1)], np.nan)


def _add_to(total: Doubles, some: "Int64s | slice", values: Doubles) -> None:
    if isinstance(some, slice):
        total += values  # by its places, NumPy would then copy all of it onto itself
    else:
        total[some] += values


def _deviation(squares: Doubles, n: Doubles) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)


def _change(first: Doubles, last: Doubles) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        found = last / first - 1
        return np.where(np.isfinite(found), found, np.nan)


_TAKES: dict[str, Callable[[_Frames, Doubles, Window], Doubles]] = {
    "count": lambda f, x, _: f.count(x),
    "sum": lambda f, x, _: f.sum(x),
    "mean": lambda f, x, _: f.mean(x),
    "share": lambda f, x, _: f.mean(x),
    "min": lambda f, x, _: f.extreme(x, np.minimum, np.inf),
    "max": lambda f, x, _: f.extreme(x, np.maximum, -np.inf),
    "std": lambda f, x, _: f.std(x),
    "slope": lambda f, x, _: f.slope(x),
    "ewm": lambda f, x, w: f.ewm(x, w.alpha),
    "first": lambda f, x, _: f.at(x, f.first),
    "last": lambda f, x, _: f.at(x, f.end),
    "lag": lambda f, x, _: f.at(x, f.first),
    "difference": lambda f, x, _: f.at(x, f.end) - f.at(x, f.first),
    "return": lambda f, x, _: _change(f.at(x, f.first), f.at(x, f.end)),
}


# --- everything so far: what is kept, how a value is taken in, what is told of it ---


def _add(sums: Sums, x: float) -> Sums:
    return sums if math.isnan(x) else (sums[0] + 1, sums[1] + x)


def _least(sums: Sums, x: float) -> Sums:
    return sums if math.isnan(x) else (sums[0] + 1, min(sums[1], x))


def _greatest(sums: Sums, x: float) -> Sums:
    return sums if math.isnan(x) else (sums[0] + 1, max(sums[1], x))


def _welford(sums: Sums, x: float) -> Sums:
    if math.isnan(x):
        return sums
    n, mean, squares = sums
    to = mean + (x - mean) / (n + 1)
    return n + 1, to, squares + (x - mean) * (x - to)


def _first(sums: Sums, x: float) -> Sums:
    return sums[0] + 1, sums[1] if sums[0] else x  # all rows count, as in frames of rows


def _decay(alpha: float) -> Callable[[Sums, float], Sums]:
    def step(sums: Sums, x: float) -> Sums:
        n, total, weight = sums[0], sums[1] * (1 - alpha), sums[2] * (1 - alpha)
        return (n, total, weight) if math.isnan(x) else (n + 1, total + x, weight + 1)

    return step


_SUM = ((0.0, 0.0), _add)
_FIRST = ((0.0, math.nan), _first)
_STEPS: dict[str, Callable[[Window], tuple[Sums, Callable[[Sums, float], Sums]]]] = {
    **dict.fromkeys(("count", "sum", "mean", "share"), lambda _: _SUM),
    **dict.fromkeys(("first", "difference", "return"), lambda _: _FIRST),
    "last": lambda _: ((0.0,), lambda sums, _: (sums[0] + 1,)),
    "min": lambda _: ((0.0, math.inf), _least),
    "max": lambda _: ((0.0, -math.inf), _greatest),
    "std": lambda _: ((0.0, 0.0, 0.0), _welford),
    "ewm": lambda w: ((0.0, 0.0, 0.0), _decay(w.alpha)),
}
_TOLD: dict[str, Callable[[Doubles, Doubles, Doubles], Doubles]] = {
    "count": lambda _, n, __: n,
    "sum": lambda kept, _, __: kept[0],
    "mean": lambda kept, n, _: kept[0] / n,
    "share": lambda kept, n, _: kept[0] / n,
    "min": lambda kept, _, __: kept[0],
    "max": lambda kept, _, __: kept[0],
    "std": lambda kept, n, _: _deviation(kept[1], n),
    "ewm": lambda kept, _, __: kept[0] / kept[1],
    "first": lambda kept, _, __: kept[0],
    "last": lambda _, __, last: last,
    "difference": lambda kept, _, last: last - kept[0],
    "return": lambda kept, _, last: _change(kept[0], last),
}
