"""The frames of rows: the rows of its series that a row's window covers, and sums over them, oldest first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Doubles, Int64s
from keyfold.core.types import MICROS

DAY = MICROS["day"]


class Span(NamedTuple):
    """A length: rows, microseconds or calendar months (in UTC); none of them: everything so far."""

    rows: int | None = None
    micros: int | None = None
    months: int | None = None

    def before(self, at: Int64s) -> Int64s:
        """Times (microseconds since 1970) moved back by the span."""
        if self.months is None:
            return at - (self.micros or 0)
        month = at.astype("M8[us]").astype("M8[M]")
        since = at - month.astype("M8[us]").astype(np.int64)
        earlier = month - self.months
        days = ((earlier + 1).astype("M8[D]") - earlier.astype("M8[D]")).astype(np.int64)
        day = np.minimum(since // DAY, days - 1)  # the last day of a shorter month
        return earlier.astype("M8[us]").astype(np.int64) + day * DAY + since % DAY  # type: ignore[no-any-return]


class Frame(NamedTuple):
    """The rows of a series that the window of a row at time t covers: [t - over - lag, t - lag), or (t - over - lag, t - lag] with `current`.

    With `tile` (microseconds) they are summed by tiles, see `keyfold.windows.tiles`.
    """

    over: Span
    lag: Span = Span(rows=0)
    current: bool = False
    tile: int | None = None

    @property
    def so_far(self) -> bool:
        """Whether the frame begins where the series does."""
        return self.over == Span()


class SeriesRows(NamedTuple):
    """Sorted rows: the place where each row's series begins, its time in microseconds and its values.

    `own`: the rows to compute windows for; the others are the past of their series. `sums`: by the place where a series begins,
    the running sums of everything before.
    """

    start: Int64s
    at: Int64s
    values: Mapping[str, Doubles]
    own: npt.NDArray[np.bool_]
    sums: Mapping[int, Sequence[float]]


def whole_range(places: Int64s) -> slice | None:
    """Ascending places as a slice; None if they have gaps."""
    return slice(places[0], places[-1] + 1) if len(places) and places[-1] - places[0] + 1 == len(places) else None


def _at(x: npt.NDArray[Any], places: Int64s) -> npt.NDArray[Any]:
    """`x[places]` of ascending places, as a view if they have no gaps."""
    whole = whole_range(places)
    return x[places if whole is None else whole]


_NEAR = 16  # rows to scan before a binary search, which takes as long as a scan of twice that number


class Times:
    """A key that grows over all rows, series after series, so that one binary search finds times within series."""

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
        """Whether no series has two rows with equal times."""
        return bool((self._keys[_NEAR + 1 :] > self._keys[_NEAR:-1]).all())

    def first(self, of: Int64s, bound: Int64s, high: Int64s) -> Int64s:
        """For each row, the first place in its series before `high` with a time of `bound` or later, else `high`."""
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


def frame_ends(frame: Frame, times: Times, of: Int64s) -> tuple[Int64s, Int64s]:
    """The first and the last place of each frame; an empty frame ends before it begins."""
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


def first_needed(frame: Frame, times: Times, last: Int64s) -> Int64s:
    """The first place that frames of rows after `last` may reach."""
    at, lag = times.rows.at[last], frame.lag
    behind = last + 1 - (lag.rows or 0) if lag.rows is not None else times.first(last, lag.before(at), last + 1)
    if frame.so_far:
        return behind - 1  # a difference takes the last row of the frame
    if frame.over.rows is not None:
        return behind - frame.over.rows
    begin = frame.over.before(lag.before(at) if lag.rows is None else at)
    if frame.over.months is not None:
        begin = begin - 3 * DAY  # the frame of a later day of the month may begin up to three days earlier
    return np.minimum(behind, times.first(last, begin, last + 1))


class Frames:
    """The frames of own rows, as the places of their first and last rows."""

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
        """The distance from each row to the end of its frame, if it is the same for all and the frames can be read as slices; else None."""
        filled = self.length > 0
        behind = (self.of - self.end)[filled]
        regular = len(behind) > 0 and behind.min() == behind.max() and self.of[-1] - self.of[0] + 1 == len(self.of)
        return int(behind[0]) if regular and self._most * len(self.of) <= 4 * self.length.sum() else None

    @cached_property
    def _longest_first(self) -> Int64s:
        return np.argsort(-self.length, kind="stable")

    def oldest_first(self, *columns: tuple[Doubles, float]) -> "Iterator[tuple[Int64s | slice, list[Doubles], Int64s]]":
        """Steps through all frames at once: yields frames, the columns' values at the step, and the places that are outside their frame.

        Each column comes with the number that stands in for values outside.
        """
        if self._shift is not None:
            pad = max(0, self._most - 1 + self._shift - int(self.of[0]))
            padded = [(np.concatenate([np.full(pad, out), c]), out) for c, out in columns]
            short = np.flatnonzero(self.length < self._most)
            for back in range(self._most - 1, -1, -1):
                begin = int(self.of[0]) - self._shift - back + pad
                short = short[self.length[short] <= back]
                values = [c[begin : begin + len(self.of)] for c, _ in padded]
                saved = [c[short] for c in values]
                for c, (_, out) in zip(values, padded, strict=True):
                    c[short] = out
                yield slice(None), values, short
                for c, former in zip(values, saved, strict=True):
                    c[short] = former
            return
        lengths = self.length[self._longest_first]
        many = np.searchsorted(-lengths, -np.arange(self._most), side="left")
        for back in range(self._most - 1, -1, -1):
            frames = self._longest_first[: many[back]]
            yield frames, [c[self.end[frames] - back] for c, _ in columns], frames[:0]

    def _once(self, what: str, x: Doubles, make: Callable[[], Doubles]) -> Doubles:
        if (what, id(x)) not in self._known:
            self._known[what, id(x)] = make()
        return self._known[what, id(x)]

    def count(self, x: Doubles) -> Doubles:
        """The number of values that are not missing."""

        def make() -> Doubles:
            if not self._gaps(x):
                return self.length.astype(np.float64)
            before = np.concatenate([[0], np.cumsum(~np.isnan(x))])
            return (before[self.end + 1] - before[self.first]).astype(np.float64)  # type: ignore[no-any-return]

        return self._once("count", x, make)

    def sum(self, x: Doubles) -> Doubles:
        """The sum of the values; 0.0 if there are none."""

        def make() -> Doubles:
            total = np.zeros(len(self.of))
            for part, (value,), _ in self.oldest_first((self._or(x, 0.0), 0.0)):
                _add_to(total, part, value)
            return total

        return self._once("sum", x, make)

    def mean(self, x: Doubles) -> Doubles:
        """The mean; NaN if there are no values."""
        with np.errstate(invalid="ignore"):
            return self._once("mean", x, lambda: self.sum(x) / self.count(x))

    def extreme(self, x: Doubles, choose: "np.ufunc", worst: float) -> Doubles:
        """The minimum or the maximum."""
        best = np.full(len(self.of), worst)
        for part, (value,), _ in self.oldest_first((self._or(x, worst), worst)):
            best[part] = choose(best[part], value)
        return best

    def std(self, x: Doubles) -> Doubles:
        """The sample standard deviation; NaN for fewer than two values."""
        mean, squares = self.mean(x), np.zeros(len(self.of))
        gaps = self._gaps(x)
        with np.errstate(invalid="ignore"):
            for part, (value,), out in self.oldest_first((x, np.nan)):
                off = value - mean[part]
                off[np.isnan(value) if gaps else out] = 0.0
                off *= off
                _add_to(squares, part, off)
        return deviation(squares, self.count(x))

    def slope(self, x: Doubles) -> Doubles:
        """The slope of least squares, per day; NaN if all values have the same time."""
        n, middle, mean = self.count(x), np.zeros(len(self.of)), self.mean(x)
        zero = int(self.rows.at.min(initial=0))
        at = (self.rows.at - zero).astype(np.float64)
        now = at[self.of]
        above, below = np.zeros(len(self.of)), np.zeros(len(self.of))
        first, last = np.full(len(self.of), np.inf), np.full(len(self.of), -np.inf)
        for part, (value, time), _ in self.oldest_first((x, np.nan), (at, 0.0)):
            out = np.isnan(value)
            middle[part] += np.where(out, 0.0, (time - now[part]) / DAY)
            first[part] = np.minimum(first[part], np.where(out, np.inf, time))
            last[part] = np.maximum(last[part], np.where(out, -np.inf, time))
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = middle / n
            for part, (value, time), _ in self.oldest_first((x, np.nan), (at, 0.0)):
                out = np.isnan(value)
                off = np.where(out, 0.0, (time - now[part]) / DAY - middle[part])
                above[part] += off * np.where(out, 0.0, value - mean[part])
                below[part] += off * off
            return np.where((first < last) & (below > 0), above / below, np.nan)

    def ewm(self, x: Doubles, alpha: float) -> Doubles:
        """The mean with weights (1 - alpha)^age, age in rows."""
        total, weight = np.zeros(len(self.of)), np.zeros(len(self.of))
        valid = (~np.isnan(x)).astype(np.float64)
        for part, (value, known), _ in self.oldest_first((self._or(x, 0.0), 0.0), (valid, 0.0)):
            total[part] = total[part] * (1 - alpha) + value
            weight[part] = weight[part] * (1 - alpha) + known
        with np.errstate(invalid="ignore"):
            return total / weight

    def _gaps(self, x: Doubles) -> bool:
        """Whether values are missing."""
        if id(x) not in self._missing:
            self._missing[id(x)] = bool(np.isnan(x).any())
        return self._missing[id(x)]

    def _or(self, x: Doubles, other: float) -> Doubles:
        return np.where(np.isnan(x), other, x) if self._gaps(x) else x

    def at(self, x: Doubles, place: Int64s) -> Doubles:
        """The value at a place of each frame; NaN if the frame is empty."""
        return np.where(self.length > 0, x[np.clip(place, 0, len(x) - 1)], np.nan)


def _add_to(total: Doubles, part: "Int64s | slice", values: Doubles) -> None:
    if isinstance(part, slice):
        total += values  # with an index NumPy would copy the whole array onto itself
    else:
        total[part] += values


def deviation(squares: Doubles, n: Doubles) -> Doubles:
    """The sample deviation of n values from their squared distances to the mean; NaN for fewer than two."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
