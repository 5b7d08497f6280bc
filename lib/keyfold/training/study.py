"""The study of a search: Optuna's record of its trials, kept in a folder so that a killed search resumes."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.conf.tune import Range, Tune
from keyfold.core.digests import canonical_json
from keyfold.core.packages import require_package
from keyfold.errors import DataError
from keyfold.evaluation.metrics import METRICS
from keyfold.training.trials import Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as OptunaTrial
    from optuna.distributions import BaseDistribution

    from keyfold.conf.train import Train
    from keyfold.training.loop import EpochMetrics


def require_optuna() -> Any:
    """The package optuna (ConfError if it is not installed)."""
    require_package("train.tune", "optuna", "tune installs it")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextmanager
def open_study(folder: Path, metric: str, epochs: int) -> Iterator["Study"]:
    """The study in a folder, which is locked until the end (DataError if another job has it open)."""
    optuna = require_optuna()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"train.tune: another job runs these trials now ({folder}); wait until it ends") from None
        (folder / "journal.lock").unlink(missing_ok=True)  # left by a job that was killed
        _drop_torn_records(folder / "journal")
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal")))
        study = optuna.create_study(
            storage=storage,
            study_name="trials",
            load_if_exists=True,
            direction="maximize" if METRICS[metric].higher_is_better else "minimize",
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, epochs // 100)),
        )
        states = optuna.trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=(states.RUNNING, states.WAITING)):
            if "place" not in trial.user_attrs:  # killed before it was complete; a trial with a place is resumed
                storage.set_trial_state_values(trial._trial_id, states.FAIL)
        yield study


def _drop_torn_records(journal: Path) -> None:
    """Removes the first record that is not complete, as a kill may leave it, and all after it."""
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    complete = list(takewhile(_is_complete, lines))
    if len(complete) < len(lines):
        staged = journal.with_name("journal.new")
        staged.write_bytes(b"".join(complete))
        staged.replace(journal)


def _is_complete(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def finished_trials(study: "Study", tune: Tune) -> dict[int, Trial]:
    """Trials that need not run again, by place: those that are complete, pruned, or failed with a reason."""
    trials = {}
    for t in study.get_trials(deepcopy=False):
        place, why = t.user_attrs.get("place"), t.user_attrs.get("why", "")
        if place is not None and (t.state.name in ("COMPLETE", "PRUNED") or why):
            trials[place] = Trial.of_optuna(t, conf_values(tune, t.params))
    return trials


def next_trial(study: "Study", train: "Train", place: int, point: Mapping[str, Any] | None) -> "OptunaTrial":
    """The trial of a place: the one that a kill interrupted, else a new one, which depends on seed, place and former trials only."""
    from optuna.trial import Trial as OptunaTrial
    from optuna.trial import TrialState

    assert train.tune is not None
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if interrupted := next((t for t in running if t.user_attrs["place"] == place), None):
        return OptunaTrial(study, interrupted._trial_id)
    if point is None:
        from optuna.samplers import TPESampler

        study.sampler = TPESampler(seed=(train.seed + place) % 2**32)
    else:
        study.enqueue_trial({path: _journal_value(value) for path, value in point.items()})
    trial = study.ask({path: _distribution(values) for path, values in train.tune.over.items()})
    trial.set_user_attr("place", place)
    return trial


def _distribution(values: list[Any] | Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Range):
        return (IntDistribution if values.whole else FloatDistribution)(values.low, values.high, log=values.log)  # type: ignore[arg-type]
    return CategoricalDistribution([_journal_value(value) for value in values])


def _journal_value(value: Any) -> str | float | bool | None:
    """A value as the journal can hold it: lists and mappings as JSON."""
    return value if value is None or isinstance(value, str | int | float) else canonical_json(value)


def conf_values(tune: Tune, params: Mapping[str, Any]) -> dict[str, Any]:
    """The conf's values for those of the journal."""
    lists = {path: values for path, values in tune.over.items() if isinstance(values, list)}
    return {
        path: next((v for v in lists.get(path, ()) if _is_same(_journal_value(v), value)), value)
        for path, value in params.items()
    }


def _is_same(one: object, other: object) -> bool:
    return (one, type(one)) == (other, type(other))


def epoch_observer(trial: "OptunaTrial", metric: str) -> "Callable[[EpochMetrics], None]":
    """Reports the validation loss of each epoch to Optuna; raises TrialPruned if other trials were better by then."""
    from optuna import TrialPruned

    def observe(epoch: "EpochMetrics") -> None:
        if epoch.epoch + 1 not in trial.study.trials[trial.number].intermediate_values:  # it may have been reported before a kill
            # Optuna compares reported values in the direction of the metric, and a lower loss is better.
            trial.report(-epoch.validation if METRICS[metric].higher_is_better else epoch.validation, epoch.epoch + 1)
        if trial.should_prune():
            raise TrialPruned

    return observe


def record_outcome(study: "Study", trial: "OptunaTrial", outcome: float | str | None) -> None:
    """Ends a trial: with the metric, with the message of its failure, or as pruned (None)."""
    from optuna.trial import TrialState

    if isinstance(outcome, float):
        study.tell(trial, outcome)
        return
    if outcome:
        trial.set_user_attr("why", outcome)
    study.tell(trial, state=TrialState.FAIL if outcome else TrialState.PRUNED)


def parameter_importance(study: "Study", ranked: Sequence[Trial], seed: int) -> dict[str, float]:
    """Shares of the metric's variance by fANOVA; empty if there is one trial, one parameter or no variance."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if sum(t.value is not None for t in ranked) < 2 or len(ranked[0].params) < 2:
        return {}
    try:
        importances = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed % 2**32))
    except RuntimeError:  # all trials have the same value
        return {}
    return {path: float(share) for path, share in importances.items()}
