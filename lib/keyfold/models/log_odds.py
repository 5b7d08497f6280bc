"""What models predict, as features of other models: log-odds of each class, or numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.features.kinds.numeric import Numeric
from keyfold.features.spec import FittedFeature
from keyfold.labels import Label, Number

CERTAIN = 1e-6  # probabilities are kept so far from 0 and 1 where their logarithm is taken


def log_odds_table(names: Iterable[str], numbers: Sequence[Doubles], label: Label) -> pa.Table:
    """What models of these names predict, as columns that another model takes: log-odds of each class, or numbers."""
    columns: dict[str, Doubles] = {}
    for name, one in zip(names, numbers, strict=True):
        values = as_learnt(label, one).reshape(len(one), -1)
        if label.has_classes:
            inside = values.clip(CERTAIN, 1 - CERTAIN)
            values = np.log(inside / (1 - inside))
        columns |= {f"{name}_{k}": values[:, k] for k in range(values.shape[1])} if one.ndim == 2 else {name: values[:, 0]}
    return pa.table(columns)


def standardised(table: pa.Table) -> dict[str, FittedFeature]:
    """The columns of a table as features: numbers that have the mean 0 and the deviation 1."""
    return {
        name: FittedFeature(Numeric(input_col=name, scale="standard"), _standard(table[name].to_numpy()))
        for name in table.column_names
    }


def _standard(values: Doubles) -> dict[str, Any]:
    """The state of a standardised number; NaN counts as the mean."""
    values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    mean, deviation = float(values.mean()), float(values.std())
    return {"shift": mean, "factor": 1 / deviation if deviation else 0.0, "offset": 0.0, "fill": mean, "bounds": None}


def as_learnt(label: Label, numbers: Doubles) -> Doubles:
    """Probabilities, or numbers in the unit in which they were learnt."""
    return label.transformed(numbers) if isinstance(label, Number) else numbers
