"""Metrics of predictions with bootstrap intervals, for all rows and by slice.

A new metric also needs its name in `conf.release` (which direction is better), `conf.tune` and `reporting.page` (its label).
"""

from collections import Counter
from collections.abc import Callable
from math import exp, factorial, floor, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keyfold.core.arrays import Doubles
from keyfold.evaluation.curves import rank

OTHERS, MISSING = "(others)", "(missing)"

# Poisson(1) by table: 16 random bits give the weight of a row in a replicate. Ten times faster than drawing it.
_POISSON = np.searchsorted(np.cumsum([exp(-1) / factorial(k) for k in range(9)]), (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(
    np.float64
)


class Metric(NamedTuple):
    """A value and its 95 % bootstrap interval, in the unit of the metric; NaN if undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        places = decimal_places(self.value)
        value, low, high = (format_number(part, places) for part in self)
        return value if np.isnan(self.low) else f"{value} ({low} – {high})"


class Slice(NamedTuple):
    """Metrics of the rows with one value of a column."""

    rows: int
    metrics: dict[str, Metric]


def decimal_places(value: float, digits: int = 3) -> int:
    """Decimal places that show `digits` significant digits, and more for a number just below 1, so that 0.9996 does not read as 1."""
    if not value or not np.isfinite(value):
        return digits
    places = max(0, digits - 1 - floor(log10(abs(value))))
    distance = 1 - abs(value)
    return max(places, floor(log10(0.5000001 / distance)) + 1) if 0 < distance < 0.1 else places


def format_number(value: float, places: int | None = None, digits: int = 3) -> str:
    """Formats a number with `places` decimal places, and more if it is below 1 and would read as 1. NaN is a dash."""
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

    y: n booleans or 0/1; p: n probabilities of the positive class; weight: n numbers >= 0.
    order: n integers, one per row; with them, the result has the same bits for any order of the rows.
    The AUCs are NaN if a class is missing. Rows with equal p are ranked equally, so ties are not broken by chance.
    Raises ValueError for different lengths, NaN, or values out of range.
    """
    truth, probability, weights = _sample("classification", y, p, weight, order)
    return _bootstrap(_classification(truth, probability), weights, replicates, seed)


def regression_metrics(
    y: ArrayLike,
    prediction: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    order: ArrayLike | None = None,
    replicates: int = 200,
    seed: int = 0,
) -> dict[str, Metric]:
    """`rmse` and `mae` in the unit of y, and `r2` (a ratio; NaN if y is constant).

    y, prediction: n finite numbers. `weight`, `order` and errors as in `classification_metrics`.
    """
    truth, predicted, weights = _sample("regression", y, prediction, weight, order)
    return _bootstrap(_regression(truth, predicted), weights, replicates, seed)


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
    """Each metric of the first n predictions minus that of the second, with paired bootstrap intervals.

    Each replicate measures both on the same draw of rows, so that rows which are easy or hard for both do not widen the interval.
    classes: predictions are probabilities, as in `classification_metrics`; else numbers, as in `regression_metrics`.
    """
    truth, one, other, weights = _sample("difference", y, first, None, order, second)
    measure_of = _classification if classes else _regression
    measure_one, measure_other = measure_of(truth, one), measure_of(truth, other)

    def difference(weight: Doubles) -> dict[str, float]:
        subtrahend = measure_other(weight)
        return {name: value - subtrahend[name] for name, value in measure_one(weight).items()}

    return _bootstrap(difference, weights, replicates, seed)


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
    """The metrics of `measure` for each value of a column, largest slice first.

    groups: n values; None and NaN are "(missing)". At most `most` values are measured separately; the others are pooled in the last
    slice, "(others)". The rows of all slices add up to n. Raises ValueError as `measure` does, and for different lengths.
    """
    slice_of, names = _slices(groups, most)
    columns = {"y": y, "p": p, "weight": weight, "order": order}
    arrays = {name: np.asarray(column) for name, column in columns.items() if column is not None}
    if any(len(array) != len(slice_of) for array in arrays.values()):
        raise ValueError(f"The groups of slice_metrics must be one value per row. Got {len(slice_of)} instead.")
    slices = {}
    for number, name in enumerate(names):
        rows = np.flatnonzero(slice_of == number)
        if rows.size:
            part = {column: array[rows] for column, array in arrays.items()}
            slices[name] = Slice(rows.size, measure(part.pop("y"), part.pop("p"), **part, replicates=replicates, seed=seed))
    return slices


def _classification(truth: Doubles, probability: Doubles) -> Callable[[Doubles], dict[str, float]]:
    """A function that returns the metrics of probabilities for weights of the rows."""
    if np.any((truth != 0) & (truth != 1)):
        raise ValueError("The y of classification must be booleans, or 0 and 1.")
    if np.any((probability < 0) | (probability > 1)):
        raise ValueError("The p of classification must be from 0 to 1.")
    positive = truth == 1
    ranking, loss, square = rank(positive, probability), _log_loss(positive, probability), (probability - truth) ** 2

    def measure(weight: Doubles) -> dict[str, float]:
        ranked = _ranked(*ranking.counts(weight))
        return ranked | {"log_loss": _mean(loss, weight), "brier": _mean(square, weight)}

    return measure


def _regression(truth: Doubles, predicted: Doubles) -> Callable[[Doubles], dict[str, float]]:
    """A function that returns the metrics of predicted numbers for weights of the rows."""
    error, centred = truth - predicted, truth - _mean(truth, np.ones(len(truth)))

    def measure(weight: Doubles) -> dict[str, float]:
        mse = _mean(error**2, weight)
        variance = _mean(centred**2, weight) - _mean(centred, weight) ** 2
        r2 = 1 - mse / variance if variance > 0 else np.nan
        return {"rmse": mse**0.5, "mae": _mean(abs(error), weight), "r2": r2}

    return measure


def _ranked(tp: Doubles, fp: Doubles) -> dict[str, float]:
    positive, negative, rows, gain = tp[-1], fp[-1], tp + fp, np.diff(tp)
    # Not 0 / 0 in a replicate whose first rows have weight 0: without a gain, the precision does not matter.
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


def _bootstrap(measure: Callable[[Doubles], dict[str, float]], weight: Doubles, replicates: int, seed: int) -> dict[str, Metric]:
    rng = np.random.default_rng(seed)
    values = measure(weight)
    replicated = np.full((replicates, len(values)), np.nan)
    for replicate in range(replicates):
        draws = _POISSON.take(rng.integers(0, 1 << 16, len(weight), np.uint16))
        replicated[replicate] = list(measure(weight * draws).values())
    return {name: _interval(value, column) for (name, value), column in zip(values.items(), replicated.T, strict=True)}


def _interval(value: float, replicated: Doubles) -> Metric:
    replicated = replicated[~np.isnan(replicated)]
    if np.isnan(value) or not replicated.size:
        return Metric(float(value), np.nan, np.nan)
    return Metric(float(value), *map(float, np.quantile(replicated, [0.025, 0.975])))


def _sample(
    caller: str, y: ArrayLike, p: ArrayLike, weight: ArrayLike | None, order: ArrayLike | None, *more: ArrayLike
) -> tuple[Doubles, ...]:
    """Checked columns, the weight last, sorted so that the order of the rows does not matter."""
    columns = [np.asarray(c, np.float64) for c in (y, p, *more, np.ones(np.shape(y)) if weight is None else weight)]
    for name, column in zip(("y", *["predictions"] * (1 + len(more)), "weight"), columns, strict=True):
        if column.ndim != 1 or len(column) != len(columns[0]) or not np.isfinite(column).all():
            raise ValueError(f"The {name} of {caller} must be one finite number per row, {len(columns[0])} in all.")
    if np.any(columns[-1] < 0):
        raise ValueError(f"The weight of {caller} must be 0 or more. Got {columns[-1].min()} instead.")
    if order is not None:
        sorted_rows = np.lexsort((*columns, np.asarray(order, np.int64)))
        columns = [c[sorted_rows] for c in columns]
    return tuple(columns)


def _slices(groups: ArrayLike, most: int) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each row's slice, and the names of the slices."""
    import pandas as pd

    codes, values = pd.factorize(np.asarray(groups, object))
    labels = [*map(str, values), MISSING]
    rows: Counter[str] = Counter()
    for label, count in zip(labels, np.bincount(codes % len(labels), minlength=len(labels)), strict=True):
        rows[label] += int(count)
    ranked = sorted(rows.keys() - {OTHERS}, key=lambda name: (-rows[name], name))
    names = [*ranked[:most], OTHERS]
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers.get(label, len(names) - 1) for label in labels])[codes], names


def _mean(values: Doubles, weight: Doubles) -> float:
    # Not BLAS, whose order of additions depends on the number of cores.
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else np.nan
