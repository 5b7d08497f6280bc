"""Trials of a model's parameters: chosen, measured and kept one by one, so that a killed search goes on.

Optuna keeps them, and chooses those of `tpe`; the points of a grid and of random draws are scikit-learn's own. It needs the package optuna.
"""

import fcntl
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.conf.release import HIGHER_IS_BETTER
from keyfold.conf.tune import Range, Tune, with_params
from keyfold.core.digests import canonical_json
from keyfold.engine.home import home
from keyfold.errors import ConfError, DataError
from keyfold.models.model import ModelConf
from keyfold.reporting import charts
from keyfold.reporting.charts import Upright, figure_html
from keyfold.reporting.page import METRIC_NAMES, PageSection, html_table, percent, side_by_side
from keyfold.tracking.trials import Trial, TuningResult

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as Asked
    from optuna.distributions import BaseDistribution

    from keyfold.conf.train import Train
    from keyfold.runtime.run import Run
    from keyfold.training.loop import EpochMetrics


Heard = Callable[["EpochMetrics"], None]
TrialScore = Callable[
    [list[ModelConf], Heard], list[float | str | None]
]  # of each model: the metric, why it failed, or ended early

_BEST = 20
_STATES = {"complete": "complete", "pruned": "ended early", "fail": "failed"}


def search_parameters(run: "Run", train: "Train", run_id: str, score: TrialScore) -> TuningResult:
    """All trials but those that were done before, and the best model (DataError: none could be measured, or another job is at it)."""
    assert train.tune is not None
    tune, points, metric = train.tune, train.tune.points(train.seed), train.tune.metric_for(train.model)
    epochs = train.model.torch.loop.all_epochs if train.model.torch else 1
    with _opened(home() / "tuning" / run_id, metric, epochs) as study:
        known = _known(study, tune)
        if known:
            run.say(f"{len(known)} of {len(points)} trials were done before")
        missing = (place for place in range(len(points)) if place not in known)
        for _, batch in groupby(missing, lambda place: place // tune.parallel):
            asked = [_asked(study, train, place, points[place]) for place in batch]
            given = [_given(tune, trial.params) for trial in asked]
            found = score([with_params(train.model, params) for params in given], _heard(asked[0], metric))
            for trial, params, one in zip(asked, given, found, strict=True):
                _told(study, trial, one)
                said = f"{metric} {one:.6g}" if isinstance(one, float) else one or "ended early"
                run.say(f"trial {trial.user_attrs['place'] + 1} of {len(points)}: {said} with {_listed(params)}")
        sign = -1 if metric in HIGHER_IS_BETTER else 1
        ranked = sorted(
            _known(study, tune).values(), key=lambda t: (t.value is None, sign * (t.value or 0), bool(t.why), t.place)
        )
        if ranked[0].value is None:
            raise DataError(
                f"train.tune: no trial could be measured; the first, with {_listed(ranked[0].params)}: {ranked[0].why}"
            )
        return TuningResult(with_params(train.model, ranked[0].params), metric, ranked, _importance(study, ranked, train.seed))


@contextmanager
def _opened(folder: Path, metric: str, epochs: int) -> Iterator["Study"]:
    """The study that is kept in a folder."""
    optuna = require_optuna()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"train.tune: another job runs these trials now ({folder}); wait until it ends") from None
        (folder / "journal.lock").unlink(missing_ok=True)  # of a job that was killed
        _mend(folder / "journal")
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal")))
        study = optuna.create_study(
            storage=storage,
            study_name="trials",
            load_if_exists=True,
            direction="maximize" if metric in HIGHER_IS_BETTER else "minimize",
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, epochs // 100)),
        )
        states = optuna.trial.TrialState
        for left in study.get_trials(deepcopy=False, states=(states.RUNNING, states.WAITING)):
            if "place" not in left.user_attrs:  # killed while it was chosen; one with a place is gone on with
                storage.set_trial_state_values(left._trial_id, states.FAIL)
        yield study


def _mend(journal: Path) -> None:
    """Takes away the record that was not written whole before a kill, and what may be behind it."""
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    sound = list(takewhile(_whole, lines))
    if len(sound) < len(lines):
        aside = journal.with_name("journal.new")
        aside.write_bytes(b"".join(sound))
        aside.replace(journal)


def _whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _known(study: "Study", tune: Tune) -> dict[int, Trial]:
    """The trials that need not be run again, by place: not those that were given up."""
    found = {}
    for t in study.get_trials(deepcopy=False):
        place, why = t.user_attrs.get("place"), t.user_attrs.get("why", "")
        if place is not None and (t.state.name in ("COMPLETE", "PRUNED") or why):
            found[place] = Trial(
                place, _given(tune, t.params), t.value if t.state.name == "COMPLETE" else None, t.state.name, why
            )
    return found


def _asked(study: "Study", train: "Train", place: int, point: Mapping[str, Any] | None) -> "Asked":
    """The next trial, a function of the seed, its place and the trials before: the same after a kill."""
    from optuna.trial import Trial as Again
    from optuna.trial import TrialState

    assert train.tune is not None
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if left := next((t for t in running if t.user_attrs["place"] == place), None):
        return Again(study, left._trial_id)
    if point is None:
        from optuna.samplers import TPESampler

        study.sampler = TPESampler(seed=(train.seed + place) % 2**32)
    else:
        study.enqueue_trial({path: _plain(value) for path, value in point.items()})
    trial = study.ask({path: _distribution(of) for path, of in train.tune.over.items()})
    trial.set_user_attr("place", place)
    return trial


def _distribution(of: list[Any] | Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(of, Range):
        return (IntDistribution if of.whole else FloatDistribution)(of.low, of.high, log=of.log)  # type: ignore[arg-type]
    return CategoricalDistribution([_plain(value) for value in of])


def _plain(value: Any) -> str | float | bool | None:
    """A value as the journal can hold it: lists and mappings as JSON."""
    return value if value is None or isinstance(value, str | int | float) else canonical_json(value)


def _given(tune: Tune, params: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the conf that the journal's stand for."""
    lists = {path: of for path, of in tune.over.items() if isinstance(of, list)}
    return {
        path: next((v for v in lists.get(path, ()) if (_plain(v), type(_plain(v))) == (value, type(value))), value)
        for path, value in params.items()
    }


def _heard(trial: "Asked", metric: str) -> Heard:
    """Hears of an epoch's validation loss, and ends the trial (TrialPruned) where others did better by then."""
    from optuna import TrialPruned

    def heard(at: "EpochMetrics") -> None:
        if at.epoch + 1 not in trial.study.trials[trial.number].intermediate_values:  # before a kill it may have been told
            # Optuna takes the less of losses for the better only where it does so of the metric.
            trial.report(-at.validation if metric in HIGHER_IS_BETTER else at.validation, at.epoch + 1)
        if trial.should_prune():
            raise TrialPruned

    return heard


def _told(study: "Study", trial: "Asked", found: float | str | None) -> None:
    from optuna.trial import TrialState

    if isinstance(found, float):
        study.tell(trial, found)
        return
    if found:
        trial.set_user_attr("why", found)
    study.tell(trial, state=TrialState.FAIL if found else TrialState.PRUNED)


def _importance(study: "Study", ranked: Sequence[Trial], seed: int) -> dict[str, float]:
    """Shares of the metric's variance, by fANOVA; none where there is one trial, one parameter or no variance."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if sum(t.value is not None for t in ranked) < 2 or len(ranked[0].params) < 2:
        return {}
    try:
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed % 2**32))
    except RuntimeError:  # the trials do not differ
        return {}
    return {path: float(share) for path, share in found.items()}


def picture_axes(tune: Tune, tuned: TuningResult) -> list[Upright]:
    """For the picture: where the complete trials are on the range or among the values of each parameter, and of the metric."""
    known = [t for t in tuned.trials if t.value is not None]
    made = [_axis(path, of, [t.params[path] for t in known]) for path, of in tune.over.items()]
    values = [float(t.value) for t in known if t.value is not None]
    ends = Range.model_construct(low=min(values), high=max(values))
    return [*made, _axis(tuned.metric, ends, values)]


def _axis(name: str, of: list[Any] | Range, values: Sequence[Any]) -> Upright:
    if isinstance(of, list):
        between = max(1, len(of) - 1)
        return Upright(
            name, [of.index(v) / between for v in values], [(i / between, format_parameter(v)) for i, v in enumerate(of)]
        )
    scale = math.log if of.log else float
    low, wide = scale(of.low), (scale(of.high) - scale(of.low)) or 1.0
    return Upright(name, [(scale(v) - low) / wide for v in values], [(0, f"{of.low:.4g}"), (1, f"{of.high:.4g}")])


def _listed(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} {format_parameter(value)}" for path, value in params.items())


def require_optuna() -> Any:
    """The package optuna (ConfError where it is not there)."""
    try:
        import optuna
    except ImportError:
        raise ConfError("train.tune needs the package optuna: ./spark-submit.sh setup tune installs it") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def tuning_section(
    metric: str, trials: "Sequence[Trial]", importance: Mapping[str, float], axes: Sequence[Upright]
) -> PageSection:
    """Trials, best first, of which `axes` have those with a value of the metric; and each parameter's share of the importance."""
    name = METRIC_NAMES.get(metric, metric)
    states = [trial.state.lower() for trial in trials]
    counts = ", ".join(f"{states.count(state)} {word}" for state, word in _STATES.items() if state in states)
    cells = [
        (
            t.place + 1,
            *map(format_parameter, t.params.values()),
            t.value,
            f"{_STATES[t.state.lower()]}{': ' * bool(t.why)}{t.why[:200]}",
        )
        for t in trials[:_BEST]
    ]
    best = f"; the best {_BEST}" if len(trials) > _BEST else ", best first"
    told = html_table(["trial", *trials[0].params, name, "state"], cells, caption=f"{len(trials)} trials ({counts}){best}.")
    shares = [(path, percent(share, 1)) for path, share in importance.items()]
    weighed = (
        html_table(
            ["parameter", "importance"], shares, caption="Share of the variance of the metric that each explains (fANOVA)."
        )
        if shares
        else ""
    )
    drawn = figure_html(
        charts.parallel_chart(axes, "Parameters of the trials", f"trial {trials[0].place + 1}, the best"),
        caption=f"One line a trial, over its parameters to its {name.rstrip(' ↑↓')}; strong lines are better.", width=720, height=340,
    )  # fmt: skip
    return PageSection("Trials", told + side_by_side(drawn, weighed), "metrics")


def format_parameter(value: object) -> str:
    """A value of a model's parameter, numbers with four digits."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
