"""The record of a trial, as Optuna stores it and MLflow and the page show it, and the result of a search."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.models.section import ModelConf
from keyfold.tracking import tags
from keyfold.tracking.training_runs import TrialRun

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Trial(NamedTuple):
    """A trial: the metric if it is complete (`value`), the message if it failed (`why`), and Optuna's name of its state."""

    place: int  # from 0, in the order of the search
    params: Mapping[str, Any]
    value: float | None
    state: str
    why: str

    @classmethod
    def of_optuna(cls, trial: "FrozenTrial", params: Mapping[str, Any]) -> "Trial":
        """The record of a trial in Optuna's storage; `params`: the conf's values of its parameters."""
        state, place, why = trial.state.name, trial.user_attrs["place"], trial.user_attrs.get("why", "")
        return cls(place, params, trial.value if state == "COMPLETE" else None, state, why)

    def mlflow_run(self, metric: str) -> TrialRun:
        """The child run of MLflow that shows this trial."""
        metrics = {} if self.value is None else {metric: self.value}
        texts = {tags.TRIAL_STATE: self.state} | ({tags.TRIAL_FAILURE: self.why} if self.why else {})
        return TrialRun(self.place, self.params, metrics, texts, failed=bool(self.why))


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
