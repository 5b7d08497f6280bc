"""Metrics of the rows with each value of a column."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import measure_predictions
from keyfold.labels import Label

OTHERS, MISSING = "(others)", "(missing)"


class Slice(NamedTuple):
    """Metrics of the rows with one value of a column."""

    rows: int
    metrics: dict[str, Metric]


def slice_metrics(
    label: Label, y: ArrayLike, p: ArrayLike, groups: ArrayLike, *, order: ArrayLike | None = None, replicates: int = 200,
    seed: int = 0, most: int = 20,
) -> dict[str, Slice]:  # fmt: skip
    """The metrics of `measure_predictions` for each value of a column, largest slice first.

    y, p: as there; groups: n values; None and NaN are "(missing)". At most `most` values are measured separately; the others are pooled in the last
    slice, "(others)". The rows of all slices add up to n. Raises ValueError as `measure_predictions`, and for different lengths.
    """
    slice_of, names = _slices(groups, most)
    columns = {"y": y, "predicted": p, "order": order}
    arrays = {name: np.asarray(column) for name, column in columns.items() if column is not None}
    if any(len(array) != len(slice_of) for array in arrays.values()):
        raise ValueError(f"The groups of slice_metrics must be one value per row. Got {len(slice_of)} instead.")
    slices = {}
    for number, name in enumerate(names):
        rows = np.flatnonzero(slice_of == number)
        if rows.size:
            part: dict[str, Any] = {column: array[rows] for column, array in arrays.items()}
            slices[name] = Slice(rows.size, measure_predictions(label, **part, replicates=replicates, seed=seed))
    return slices


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
