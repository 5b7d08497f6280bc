"""The statistics of windows. A new one is an entry of `STATISTICS`, with its functions, and a method of `Frames` if it needs one."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from keyfold.core.arrays import Doubles
from keyfold.windows.frame_statistics import Frames, deviation
from keyfold.windows.tiles import Merge, TileSums

Sums = tuple[float, ...]  # the number of values, and their running sums
Step = Callable[[Sums, float], Sums]


class Running(NamedTuple):
    """Sums of everything so far: those to begin with, and a step for each value."""

    begin: Sums
    step: Step


class Statistic(NamedTuple):
    """A statistic in the three ways in which frames are computed.

    frame: from the rows of each frame, a column and `alpha`. running: from sums of everything so far, by `alpha`; None if frames must
    end. tiles: from sums of tiles; None if they cannot give it. result: the value of `running` and `tiles`, from the sums
    (sums x frames), the number of values and the last value of each frame. places: whether missing values count, because
    the statistic selects rows by position. full: whether the frame must be full.
    """

    frame: Callable[[Frames, Doubles, float], Doubles]
    running: Callable[[float], Running] | None = None
    result: Callable[[Doubles, Doubles, Doubles], Doubles] | None = None
    tiles: TileSums | None = None
    places: bool = False
    full: bool = False


def _change(first: Doubles, last: Doubles) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        change = last / first - 1
        return np.where(np.isfinite(change), change, np.nan)


# --- everything so far: a step for each value ---


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
    return sums[0] + 1, sums[1] if sums[0] else x  # missing values count, as in frames of rows


def _decay(alpha: float) -> Callable[[Sums, float], Sums]:
    def step(sums: Sums, x: float) -> Sums:
        n, total, weight = sums[0], sums[1] * (1 - alpha), sums[2] * (1 - alpha)
        return (n, total, weight) if math.isnan(x) else (n + 1, total + x, weight + 1)

    return step


# --- tiles: the sums of single values, and of two parts ---


def _counted(x: Doubles, missing: float = 0.0) -> Doubles:
    valid = ~np.isnan(x)
    return np.stack([valid.astype(np.float64), np.where(valid, x, missing)])


def _moments(x: Doubles) -> Doubles:
    return np.concatenate([_counted(x), np.zeros((1, len(x)))])


def _counting(choose: Merge) -> Merge:
    return lambda a, b: np.stack([a[0] + b[0], choose(a[1], b[1])])


def _spread(a: Doubles, b: Doubles) -> Doubles:
    n = a[0] + b[0]
    share = b[0] / np.maximum(n, 1)
    off = np.where((a[0] > 0) & (b[0] > 0), b[1] - a[1], 0.0)
    mean = np.where(a[0] > 0, a[1] + off * share, b[1])
    return np.stack([n, mean, a[2] + b[2] + off * off * (a[0] * share)])


_ADDED, _FROM_FIRST = Running((0.0, 0.0), _add), Running((0.0, math.nan), _first)
_TILES = TileSums(_counted, np.add)
_MEAN = Statistic(lambda f, x, _: f.mean(x), lambda _: _ADDED, lambda sums, n, _: sums[0] / n, _TILES)
STATISTICS: dict[str, Statistic] = {
    "count": Statistic(lambda f, x, _: f.count(x), lambda _: _ADDED, lambda _, n, __: n, _TILES),
    "sum": Statistic(lambda f, x, _: f.sum(x), lambda _: _ADDED, lambda sums, _, __: sums[0], _TILES),
    "mean": _MEAN,
    "min": Statistic(
        lambda f, x, _: f.extreme(x, np.minimum, np.inf), lambda _: Running((0.0, math.inf), _least),
        lambda sums, _, __: sums[0], TileSums(partial(_counted, missing=np.inf), _counting(np.minimum)),
    ),
    "max": Statistic(
        lambda f, x, _: f.extreme(x, np.maximum, -np.inf), lambda _: Running((0.0, -math.inf), _greatest),
        lambda sums, _, __: sums[0], TileSums(partial(_counted, missing=-np.inf), _counting(np.maximum)),
    ),
    "std": Statistic(
        lambda f, x, _: f.std(x), lambda _: Running((0.0, 0.0, 0.0), _welford),
        lambda sums, n, _: deviation(sums[1], n), TileSums(_moments, _spread),
    ),
    "share": _MEAN,  # of an input that is 1 where it has the value, else 0
    "slope": Statistic(lambda f, x, _: f.slope(x)),
    "ewm": Statistic(
        lambda f, x, alpha: f.ewm(x, alpha), lambda alpha: Running((0.0, 0.0, 0.0), _decay(alpha)),
        lambda sums, _, __: sums[0] / sums[1],
    ),
    "first": Statistic(lambda f, x, _: f.at(x, f.first), lambda _: _FROM_FIRST, lambda sums, _, __: sums[0], places=True),
    "last": Statistic(
        lambda f, x, _: f.at(x, f.end), lambda _: Running((0.0,), lambda sums, _: (sums[0] + 1,)),
        lambda _, __, last: last, places=True,
    ),
    "lag": Statistic(lambda f, x, _: f.at(x, f.first), places=True, full=True),
    "difference": Statistic(
        lambda f, x, _: f.at(x, f.end) - f.at(x, f.first), lambda _: _FROM_FIRST,
        lambda sums, _, last: last - sums[0], places=True, full=True,
    ),
    "return": Statistic(
        lambda f, x, _: _change(f.at(x, f.first), f.at(x, f.end)), lambda _: _FROM_FIRST,
        lambda sums, _, last: _change(sums[0], last), places=True, full=True,
    ),
}  # fmt: skip
TILED = tuple(take for take, statistic in STATISTICS.items() if statistic.tiles)

if TYPE_CHECKING:
    Take = str
else:
    Take = Literal[*STATISTICS]
