"""The result of a search: its trials, and the model that they chose."""

from typing import Any, NamedTuple

from keyfold.models.model import ModelConf


class Trial(NamedTuple):
    """A trial: the metric if it is complete (`value`), the message if it failed (`why`), and Optuna's name of its state."""

    place: int  # from 0, in the order of the search
    params: dict[str, Any]
    value: float | None
    state: str
    why: str


class TuningResult(NamedTuple):
    """The model with the best parameters, all trials, best first, and each parameter's share of the importance (may be empty)."""

    model: ModelConf
    metric: str
    trials: list[Trial]
    importance: dict[str, float]


def format_parameter(value: object) -> str:
    """A value of a parameter as text, numbers with four digits."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
