"""A metric's value with its bootstrap interval, and numbers as text."""

from collections.abc import Callable
from math import exp, factorial, floor, log10
from typing import NamedTuple

import numpy as np

from keyfold.core.arrays import Doubles
from keyfold.core.machine import cores
from keyfold.core.threads import map_in_order

# Poisson(1) by table: 16 random bits give the weight of a row in a replicate. Ten times faster than drawing it.
_POISSON = np.searchsorted(np.cumsum([exp(-1) / factorial(k) for k in range(9)]), (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(
    np.float64
)
_MANY = 50_000  # rows, from which on replicates are measured in threads


class Metric(NamedTuple):
    """A value and its 95 % bootstrap interval, in the unit of the metric; NaN if undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        places = decimal_places(self.value)
        value, low, high = (format_number(part, places) for part in self)
        return value if np.isnan(self.low) else f"{value} ({low} – {high})"


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


def bootstrap_intervals(
    measure: Callable[[Doubles], dict[str, float]], weight: Doubles, replicates: int, seed: int = 0
) -> dict[str, Metric]:
    """The values of `measure`, a function of the weights of the rows, with bootstrap intervals of that many replicates, by name."""
    values, replicated = bootstrap_values(measure, weight, replicates, seed)
    return {name: interval_of(value, column) for (name, value), column in zip(values.items(), replicated.T, strict=True)}


def bootstrap_values(
    measure: Callable[[Doubles], dict[str, float]], weight: Doubles, replicates: int, seed: int = 0
) -> tuple[dict[str, float], Doubles]:
    """The values of `measure` by name, and those of each replicate (replicates, names). Equal seeds draw the same rows."""
    rng = np.random.default_rng(seed)
    values = measure(weight)
    draws = (_POISSON.take(rng.integers(0, 1 << 16, len(weight), np.uint16)) for _ in range(replicates))
    of_draws = map_in_order(lambda drawn: [*measure(weight * drawn).values()], draws, 1 if len(weight) < _MANY else cores())
    return values, np.array([*of_draws], np.float64).reshape(replicates, len(values))


def interval_of(value: float, replicated: Doubles) -> Metric:
    """A value with the interval of its replicates (n), of which NaN are left out."""
    replicated = replicated[~np.isnan(replicated)]
    if np.isnan(value) or not replicated.size:
        return Metric(float(value), np.nan, np.nan)
    return Metric(float(value), *map(float, np.quantile(replicated, [0.025, 0.975])))
