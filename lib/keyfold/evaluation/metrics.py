"""How good predictions are: numbers with their intervals, for all rows and by slice."""

from collections import Counter
from collections.abc import Callable
from math import exp, factorial, floor, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keyfold.core.arrays import Doubles
from keyfold.evaluation.curves import rank

OTHERS, MISSING = "(others)", "(missing)"

# Poisson(1) by table: sixteen random bits give a row's weight in a replicate, ten times faster.
_POISSON = np.searchsorted(np.cumsum([exp(-1) / factorial(k) for k in range(9)]), (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(
    np.float64
)


class Metric(NamedTuple):
    """A value and its 95 % bootstrap interval, in the metric's own unit; NaN where it is undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        places = decimal_places(self.value)
        value, low, high = (format_number(part, places) for part in self)
        return value if np.isnan(self.low) else f"{value} ({low} – {high})"


class Slice(NamedTuple):
    """The metrics of the rows that share one value of a column."""

    rows: int
    metrics: dict[str, Metric]


def decimal_places(value: float, digits: int = 3) -> int:
    """The places after the point that show so many digits of a number, and of one just below 1 what it lacks: 0.9996 is not 1."""
    if not value or not np.isfinite(value):
        return digits
    places = max(0, digits - 1 - floor(log10(abs(value))))
    lacks = 1 - abs(value)
    return max(places, floor(log10(0.5000001 / lacks)) + 1) if 0 < lacks < 0.1 else places


def format_number(value: float, places: int | None = None, digits: int = 3) -> str:
    """A number as people read it, with so many places, or more where it would read as 1 and is less; NaN is a dash."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else f"{value:+}".replace("inf", "∞")
    places = decimal_places(value, digits) if places is None else places
    if 0 < 1 - abs(value) < 0.5 * 10 ** -min(8, places):
        places = min(8, decimal_places(value, digits))
        value = max(-0.99999999, min(0.99999999, value))
    return f"{value:,.{places}f}" if places < 9 else f"{value:.3e}"


def classification_metrics(
    y: ArrayLike,
    p: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    order: ArrayLike | None = None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Metric]:
    """`roc_auc`, `pr_auc` (average precision), `log_loss` (nats), `brier` and `lift_top_decile` (a ratio).

    y: n booleans or 0/1; p: n probabilities of the positive class; weight: n numbers >= 0. `order` holds an
    integer that identifies each row; with it the result is the same, bit for bit, for any order of rows.
    ValueError for lengths that differ, NaN, or values out of range. Where only one class is present the AUCs
    are NaN. Rows with equal p share what falls on them, so no tie is broken by chance.
    """
    truth, chance, weights = _sample("classification", y, p, weight, order)
    return _bootstrap(_classes(truth, chance), weights, replicates, seed)


def regression_metrics(
    y: ArrayLike,
    prediction: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    order: ArrayLike | None = None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Metric]:
    """`rmse` and `mae` in the unit of y, and `r2` (a ratio, NaN where y is constant).

    y, prediction: n finite numbers; `weight`, `order` and errors as for `classification`.
    """
    truth, predicted, weights = _sample("regression", y, prediction, weight, order)
    return _bootstrap(_numbers(truth, predicted), weights, replicates, seed)


def metric_differences(
    y: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    order: ArrayLike | None = None,
    classes: bool = True,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Metric]:
    """Each metric of the first n predictions less that of the second, on the same rows.

    Both are measured in each replicate, on the same draws of rows, so what is easy or hard about a row counts for neither.
    `classes`: whether they are probabilities, as for `classification`, or numbers, as for `regression`; errors as there.
    """
    truth, one, other, weights = _sample("difference", y, first, None, order, second)
    of = _classes if classes else _numbers
    former, latter = of(truth, one), of(truth, other)

    def both(weight: Doubles) -> dict[str, float]:
        less = latter(weight)
        return {name: value - less[name] for name, value in former(weight).items()}

    return _bootstrap(both, weights, replicates, seed)


def slice_metrics(
    y: ArrayLike,
    p: ArrayLike,
    groups: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    order: ArrayLike | None = None,
    measure: Callable[..., dict[str, Metric]] = classification_metrics,
    replicates: int = 200,
    seed: int = 0,
    most: int = 20,
) -> dict[str, Slice]:
    """The metrics of `measure` for each value of a column (n values), largest first.

    At most `most` values; the others are pooled as "(others)", which stands last. None and NaN are
    "(missing)". The rows of all slices add up to n.
    """
    slots, names = _slots(groups, most)
    columns = {"y": y, "p": p, "weight": weight, "order": order}
    given = {name: np.asarray(column) for name, column in columns.items() if column is not None}
    if any(len(column) != len(slots) for column in given.values()):
        raise ValueError(f"The groups of by_slice must be one value a row. Got {len(slots)} instead.")
    found = {}
    for slot, name in enumerate(names):
        rows = np.flatnonzero(slots == slot)
        if rows.size:
            part = {column: values[rows] for column, values in given.items()}
            both = part.pop("y"), part.pop("p")
            found[name] = Slice(rows.size, measure(*both, **part, replicates=replicates, seed=seed))
    return found


def _classes(truth: Doubles, chance: Doubles) -> Callable[[Doubles], dict[str, float]]:
    """What gives the metrics of probabilities for the weights of rows."""
    if np.any((truth != 0) & (truth != 1)):
        raise ValueError("The y of classification must be booleans, or 0 and 1.")
    if np.any((chance < 0) | (chance > 1)):
        raise ValueError("The p of classification must be from 0 to 1.")
    positive = truth == 1
    ranking, loss, square = rank(positive, chance), _log_loss(positive, chance), (chance - truth) ** 2

    def of(weight: Doubles) -> dict[str, float]:
        ranked = _ranked(*ranking.counts(weight))
        return ranked | {"log_loss": _mean(loss, weight), "brier": _mean(square, weight)}

    return of


def _numbers(truth: Doubles, predicted: Doubles) -> Callable[[Doubles], dict[str, float]]:
    """What gives the metrics of predicted numbers for the weights of rows."""
    error, centred = truth - predicted, truth - _mean(truth, np.ones(len(truth)))

    def of(weight: Doubles) -> dict[str, float]:
        mse = _mean(error**2, weight)
        variance = _mean(centred**2, weight) - _mean(centred, weight) ** 2
        r2 = 1 - mse / variance if variance > 0 else np.nan
        return {"rmse": mse**0.5, "mae": _mean(abs(error), weight), "r2": r2}

    return of


def _ranked(tp: Doubles, fp: Doubles) -> dict[str, float]:
    positive, negative, rows, gain = tp[-1], fp[-1], tp + fp, np.diff(tp)
    # No gain adds nothing, whatever stands below it: so a replicate whose first rows weigh 0 is not 0 / 0.
    precision = tp[1:] / np.maximum(rows[1:], np.finfo(float).tiny)
    both = positive > 0 and negative > 0
    return {
        "roc_auc": np.sum(np.diff(fp) * (tp[1:] + tp[:-1])) / (2 * positive * negative) if both else np.nan,
        "pr_auc": np.sum(gain * precision) / positive if both else np.nan,
        "lift_top_decile": np.interp(rows[-1] / 10, rows, tp) * 10 / positive if positive > 0 else np.nan,
    }


def _log_loss(positive: NDArray[np.bool_], p: Doubles) -> Doubles:
    eps = np.finfo(float).eps
    loss: Doubles = -np.log(np.clip(np.where(positive, p, 1 - p), eps, 1 - eps))
    return loss


def _bootstrap(of: Callable[[Doubles], dict[str, float]], weight: Doubles, replicates: int, seed: int) -> dict[str, Metric]:
    rng = np.random.default_rng(seed)
    value = of(weight)
    drawn = np.full((replicates, len(value)), np.nan)
    for replicate in range(replicates):
        draws = _POISSON.take(rng.integers(0, 1 << 16, len(weight), np.uint16))
        drawn[replicate] = list(of(weight * draws).values())
    return {name: _interval(v, column) for (name, v), column in zip(value.items(), drawn.T, strict=True)}


def _interval(value: float, drawn: Doubles) -> Metric:
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not drawn.size:
        return Metric(float(value), np.nan, np.nan)
    return Metric(float(value), *map(float, np.quantile(drawn, [0.025, 0.975])))


def _sample(
    caller: str, y: ArrayLike, p: ArrayLike, weight: ArrayLike | None, order: ArrayLike | None, *more: ArrayLike
) -> tuple[Doubles, ...]:
    """Checked columns of the sample, the weight last, in an order that depends on nothing but the rows."""
    columns = [np.asarray(c, np.float64) for c in (y, p, *more, np.ones(np.shape(y)) if weight is None else weight)]
    for name, column in zip(("y", *["predictions"] * (1 + len(more)), "weight"), columns, strict=True):
        if column.ndim != 1 or len(column) != len(columns[0]) or not np.isfinite(column).all():
            raise ValueError(f"The {name} of {caller} must be one finite number a row, {len(columns[0])} in all.")
    if np.any(columns[-1] < 0):
        raise ValueError(f"The weight of {caller} must be 0 or more. Got {columns[-1].min()} instead.")
    if order is not None:
        by = np.lexsort((*columns, np.asarray(order, np.int64)))
        columns = [c[by] for c in columns]
    return tuple(columns)


def _slots(groups: ArrayLike, most: int) -> tuple[NDArray[np.int64], list[str]]:
    """For each row the number of its slice, and the slices' names."""
    import pandas as pd

    codes, values = pd.factorize(np.asarray(groups, object))
    labels = [*map(str, values), MISSING]
    rows: Counter[str] = Counter()
    for label, count in zip(labels, np.bincount(codes % len(labels), minlength=len(labels)), strict=True):
        rows[label] += int(count)
    ranked = sorted(rows.keys() - {OTHERS}, key=lambda name: (-rows[name], name))
    names = [*ranked[:most], OTHERS]
    slot = {name: number for number, name in enumerate(names)}
    return np.array([slot.get(label, len(names) - 1) for label in labels])[codes], names


def _mean(values: Doubles, weight: Doubles) -> float:
    # A sum of products and not BLAS, whose order of additions depends on the machine's number of cores.
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else np.nan
