"""Trials of a model's parameters, and the model that they chose."""

from typing import Any, NamedTuple

from keyfold.models.model import ModelConf


class Trial(NamedTuple):
    """One of them: `value` of the metric where it is complete, `why` it failed where it did. `state`: Optuna's word for it."""

    place: int  # from 0, in the order of the search
    params: dict[str, Any]
    value: float | None
    state: str
    why: str


class TuningResult(NamedTuple):
    """The model with the best parameters, all trials, best first, and each parameter's share of the importance (maybe none)."""

    model: ModelConf
    metric: str
    trials: list[Trial]
    importance: dict[str, float]
