"""The search for a model's parameters: trials are chosen, scored and recorded one after another.

Optuna records them and chooses those of `tpe`; the points of `grid` and `random` are those of scikit-learn's own searches.
"""

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from keyfold.conf.tune import with_params
from keyfold.engine.home import home
from keyfold.errors import DataError
from keyfold.evaluation.metrics import METRICS
from keyfold.models.section import ModelConf
from keyfold.training.study import (
    conf_values,
    epoch_observer,
    finished_trials,
    next_trial,
    open_study,
    parameter_importance,
    record_outcome,
)
from keyfold.training.trials import Trial, TuningResult, format_parameter

if TYPE_CHECKING:
    from optuna import Study

    from keyfold.conf.train import Train
    from keyfold.training.loop import EpochMetrics


Observer = Callable[["EpochMetrics"], None]
# Of each model: the metric, the message of its failure, or None if it was pruned.
TrialScore = Callable[[list[ModelConf], Observer], list[float | str | None]]


def search_parameters(train: "Train", run_id: str, score: TrialScore, say: Callable[[str], None]) -> TuningResult:
    """Runs all trials that are not finished; the best model and all trials.

    Raises DataError if no trial could be measured, or if another job runs the same trials.
    """
    assert train.tune is not None
    tune, metric = train.tune, train.tune.metric_for(train.model)
    epochs = train.model.torch.loop.all_epochs if train.model.torch else 1
    with open_study(home() / "tuning" / run_id, metric, epochs) as study:
        _run_trials(study, train, score, say)
        ranked = _rank(list(finished_trials(study, tune).values()), metric)
        if ranked[0].value is None:
            raise DataError(
                f"train.tune: no trial could be measured; the first, with {_format(ranked[0].params)}: {ranked[0].why}"
            )
        importance = parameter_importance(study, ranked, train.seed)
        return TuningResult(with_params(train.model, ranked[0].params), metric, ranked, importance)


def _run_trials(study: "Study", train: "Train", score: TrialScore, say: Callable[[str], None]) -> None:
    """Runs the unfinished trials, `parallel` at once."""
    tune = train.tune
    assert tune is not None
    points, metric = tune.points(train.seed), tune.metric_for(train.model)
    finished = finished_trials(study, tune)
    if finished:
        say(f"{len(finished)} of {len(points)} trials were done before")
    places = (place for place in range(len(points)) if place not in finished)
    for _, batch in groupby(places, lambda place: place // tune.parallel):
        trials = [next_trial(study, train, place, points[place]) for place in batch]
        params = [conf_values(tune, trial.params) for trial in trials]
        outcomes = score([with_params(train.model, one) for one in params], epoch_observer(trials[0], metric))
        for trial, values, outcome in zip(trials, params, outcomes, strict=True):
            record_outcome(study, trial, outcome)
            result = f"{metric} {outcome:.6g}" if isinstance(outcome, float) else outcome or "ended early"
            say(f"trial {trial.user_attrs['place'] + 1} of {len(points)}: {result} with {_format(values)}")


def _rank(trials: list[Trial], metric: str) -> list[Trial]:
    """Best first; then those that were pruned, then those that failed."""
    sign = -1 if METRICS[metric].higher_is_better else 1
    return sorted(trials, key=lambda t: (t.value is None, sign * (t.value or 0), bool(t.why), t.place))


def _format(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} {format_parameter(value)}" for path, value in params.items())
