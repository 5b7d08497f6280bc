"""Trials: those of scikit-learn's own searches, with their scores; kept through kills; on the page and in MLflow."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, RandomizedSearchCV

from keyfold.conf.tune import with_params
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.models.sklearn import Estimator
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training import search as trials
from keyfold.training import trial_scores
from keyfold.training.job import train
from keyfold.training.search import tuning_section

GRID = {
    "search": "grid",
    "over": {"params.C": [0.01, 0.1, 1, 10], "params.tol": [1e-4, 1e-2]},
    "metric": "roc_auc",
    "parallel": 2,
}
TPE = {"search": "tpe", "over": {"params.C": {"low": 0.01, "high": 10, "log": True}, "params.class_weight": [None, {"a": 1}]}}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}, "loop": {"batch_size": 240, "epochs": 8}}}


def raw(tune=None, *, model=None, **more):
    model = model or {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"solver": "newton-cg"}}}
    trained = {"model": model, "seed": 7} | ({"tune": tune} if tune else {})
    made = {"name": "t", "data": {"key": ["id"], "label": "y", "positive": True}, "train": trained | more.pop("train", {})}
    return made | {"split": {"share": {"train": 0.6, "validation": 0.2, "test": 0.2}}, "features": FEATURES} | more


FEATURES = {"x": {"numeric": {"input_col": "x"}}, "c": {"one_hot": {"input_col": "c"}}}


# --- the conf ---


@pytest.mark.parametrize(
    ("tune", "sentence"),
    [
        ({"over": {"params.C": 3}}, "train.tune.over.params.C must be a list or a mapping with `low` or `high` (got 3)"),
        ({"over": {"params.C": {"low": 1}}}, "train.tune.over.params.C.high is missing"),
        ({"over": {"params.C": {"low": 3, "high": 2}}}, "train.tune.over.params.C: low must be less than high (got 3 and 2)"),
        ({"over": {"params.C": {"low": 0, "high": 2, "log": True}}}, "low must be more than 0 with log (got 0)"),
        ({"over": {}}, "train.tune: over must name a parameter"),
        ({"over": {"params.C": []}}, "train.tune: over.params.C must have a value"),
        ({"over": {"params.C": {"low": 1, "high": 2}}, "search": "grid"}, "over.params.C: a grid needs a list of values"),
        ({"search": "grid", "trials": 3}, "leave out trials"),
        ({"over": {"params.c": [1]}}, "over.params.c: train.model.sklearn: sklearn.linear_model.LogisticRegression has no parameter `c` (did you mean `C`?)"),
        ({"over": {"C": [1], "params.d": [1]}}, "train.tune.over.C: a parameter of a scikit-learn model is `params.<name>`; train.tune.over.params.d: "),
        ({"metric": "rmse"}, "train.tune.metric must be `roc_auc`, `pr_auc`, `lift_top_decile`, `log_loss` or `brier` with this model (got `rmse`)"),
        ({"over": {"loop.learning_rate": [0.1, -1]}}, "train.tune.over.loop.learning_rate: train.model.torch.loop.learning_rate must be more than 0 (got -1)"),
        ({"over": {"loop.rate": [1]}}, "train.tune.over.loop.rate: train.model.torch.loop.rate is not an option"),
        ({"over": {"network.wide_deep.embedding": {"low": 1.0, "high": 4}}}, "embedding must be a whole number (got 2.854)"),
        ({"over": {"network.wide_deep.embedding": {"low": 0, "high": 4}}}, "embedding must be 1 or more (got 0)"),
        ({"over": {"loop.batch_size": [100]}}, "batch_size must be a multiple of 12"),
        ({"over": {"loss": ["squared_error"]}}, "train.tune.over.loss: with 'squared_error' the model no longer predicts the same kind of label"),
        ({"over": {"loop.clip": [1]}, "parallel": 2}, "train.tune.parallel is for scikit-learn models"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_refused_with_its_path(tune, sentence):
    network = any(path.startswith(("loop", "net", "loss")) for path in tune.get("over", {}))
    with pytest.raises(ConfError) as caught:
        parse_conf(raw({"search": "random", "over": {"params.C": [1]}} | tune, model=TORCH if network else None))
    assert sentence in str(caught.value)


def test_what_of_a_search_depends_on_ranks_and_on_trials_at_once_is_pinned():
    assert parse_conf(raw()).train.prunes_trials is parse_conf(raw(TPE)).train.prunes_trials is None
    network = TPE | {"over": {"loop.clip": [1]}}
    early = [parse_conf(raw(network, model=TORCH, train={"ranks": ranks})).train.prunes_trials for ranks in (1, 3)]
    assert early == [True, False]
    assert parse_conf(raw(TPE | {"parallel": 3})).train.trials_at_once == 3
    assert parse_conf(raw(TPE | {"parallel": 3, "search": "random"})).train.trials_at_once is None


def test_without_the_package_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfError, match=r"train.tune needs the package optuna: ./spark-submit.sh setup tune installs it"):
        train(SimpleNamespace(conf=parse_conf(raw(TPE))))


# --- the search, without Spark: trials are scored by a formula ---


def searched(tune, score, name="s", model=None):
    said = []
    return said, trials.search_parameters(SimpleNamespace(say=said.append), parse_conf(raw(tune, model=model)).train, name, score)


def formula(models, heard=None):
    return [abs(np.log10(m.sklearn.params["C"])) + (m.sklearn.params["class_weight"] is None) for m in models]


def seen(tuned):
    return [(t.place, t.params, t.value, t.state) for t in sorted(tuned.trials)]


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("torn", [b"", b'{"op_code": 6, "tri', b"\x00\x00\n"])
@pytest.mark.parametrize("search", ["tpe", "random"])
def test_a_killed_search_goes_on_and_comes_to_the_same(home, search, parallel, torn):
    tune = TPE | {"search": search, "trials": 15, "parallel": parallel}
    _, whole = searched(tune, formula, "whole")
    counted = []

    def dies(models, heard):
        if len(counted) >= 9:
            raise KeyboardInterrupt
        counted.extend(models)
        return formula(models)

    with pytest.raises(KeyboardInterrupt):
        searched(tune, dies, "killed")
    with (home / "tuning/killed/journal").open("ab") as journal:
        journal.write(torn)
    (home / "tuning/killed/journal.lock").symlink_to(home / "nowhere")
    again = []
    said, tuned = searched(tune, lambda models, heard: again.extend(models) or formula(models), "killed")
    assert said[0] == "9 of 15 trials were done before" and len(again) == 6
    assert seen(tuned) == seen(whole) and tuned.model == whole.model
    lines = json_lines(home / "tuning/killed/journal")
    assert not [t for t in lines if t["op_code"] == 6 and t["state"] == 3], "those that were running are gone on with"
    assert sum(t["op_code"] == 4 for t in lines) == 15
    assert searched(tune, None, "killed")[1] == tuned, "and none is run again"


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_trials_that_fail_are_told_and_not_repeated(home):
    def some(models, heard):
        return [1.0 if m.sklearn.params["C"] == 1 else "ValueError: odd" for m in models]

    tune = {"search": "grid", "over": {"params.C": [0, 1]}}
    said, tuned = searched(tune, some)
    assert [(t.place, t.why) for t in tuned.trials] == [(1, ""), (0, "ValueError: odd")] and "odd with params.C 0" in said[0]
    assert tuned.model.sklearn.params == {"solver": "newton-cg", "C": 1}
    assert searched(tune, None)[1] == tuned
    page = tuning_section(
        tuned.metric, tuned.trials, tuned.importance, trials.picture_axes(parse_conf(raw(tune)).train.tune, tuned)
    ).html
    assert (
        "2 trials (1 complete, 1 failed), best first." in page and "failed: ValueError: odd" in page and "importance" not in page
    )
    with pytest.raises(DataError, match=r"no trial could be measured; the first, with params.C 0: no"):
        searched(tune, lambda models, heard: ["no"] * len(models), "none")


def test_two_jobs_do_not_run_the_same_trials(home):
    def twice(models, heard):
        with pytest.raises(DataError, match="another job runs these trials now"):
            searched(TPE | {"trials": 1}, formula)
        return formula(models)

    assert len(searched(TPE | {"trials": 1}, twice)[1].trials) == 1


@pytest.mark.parametrize(("value", "whole"), [(0.5, 0), (None, 1)])
def test_importance_and_picture_take_any_trials(home, value, whole):
    tune = TPE | {"trials": 3}
    _, tuned = searched(tune, lambda models, heard: [value] if value else formula(models))
    assert sum(tuned.importance.values()) == pytest.approx(whole)
    assert all(0 <= place <= 1 for axis in trials.picture_axes(parse_conf(raw(tune)).train.tune, tuned) for place in axis.places)


def test_a_network_that_does_worse_than_others_by_then_is_ended_early(home):
    from optuna import TrialPruned

    heard_of = []

    def score(models, heard):
        rate = models[0].torch.loop.learning_rate
        try:
            for epoch in range(8):
                heard_of.append(rate)
                heard(SimpleNamespace(epoch=epoch, validation=1 - rate))
        except TrialPruned:
            return [None]
        return [rate]

    tune = {"search": "grid", "over": {"loop.learning_rate": [0.3, 0.1, 0.2, 0.4]}, "metric": "roc_auc"}
    said, tuned = searched(tune, score, model=TORCH)
    assert [(t.params["loop.learning_rate"], t.state) for t in tuned.trials] == [
        (0.4, "COMPLETE"), (0.3, "COMPLETE"), (0.1, "PRUNED"), (0.2, "PRUNED"),
    ]  # fmt: skip
    assert [heard_of.count(rate) for rate in (0.3, 0.1, 0.2, 0.4)] == [
        8,
        1,
        1,
        8,
    ] and "ended early with loop.learning_rate 0.1" in said[1]


# --- with scikit-learn, and with Spark ---


def trained(spark, tune, **more):
    """The run, its version, and what the trials were given."""
    run, kept = Run(parse_conf(raw(tune, **more)), spark), []
    rows = spark.range(1500).selectExpr(
        "id", "(id * 7919) % 1009 / 1000.0D x", "concat('c', id % 5) c", "(id * 7919) % 1009 + (id * 31) % 800 + 100 * (id % 5) > 1000 y"
    )  # fmt: skip
    run.rows._save(rows.write.format("delta").mode("overwrite"), rows, {})
    over = trial_scores.EstimatorTrials.over
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_scores.EstimatorTrials, "over", lambda self, *given: kept.append(self) or over(self, *given))
        return run, train(run), kept[0]


def matrix(given):
    return Estimator(None, given.rows.spec, sparse=True).matrix(given.rows.arrays), given.rows.y


def compared(search, given, run, paths):
    """scikit-learn's search chooses the same; its scores are ours."""
    search.fit(*matrix(given))
    found = trials.search_parameters(run, run.conf.train, run.jobs[-1].run_id, None)
    scores = {
        json.dumps(p, sort_keys=True): s
        for p, s in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
    }
    for trial in found.trials:
        assert abs(trial.value) == pytest.approx(
            abs(scores.pop(json.dumps({paths[p]: v for p, v in trial.params.items()}, sort_keys=True))), abs=1e-12
        )
    assert not scores
    assert {paths[path]: value for path, value in found.trials[0].params.items()} == search.best_params_
    return found


def test_a_grid_is_that_of_scikit_learn_on_the_page_and_in_mlflow(spark, home):
    run, version, given = trained(spark, GRID)
    held = np.where(given.rows.table["keyfold_fold"].to_numpy(zero_copy_only=False) == "validation", 0, -1)
    paths = {"params.C": "C", "params.tol": "tol"}
    search = GridSearchCV(
        LogisticRegression(solver="newton-cg", random_state=7), {paths[p]: v for p, v in GRID["over"].items()},
        scoring="roc_auc", cv=PredefinedSplit(held), refit=True,
    )  # fmt: skip
    found = compared(search, given, run, paths)
    best = found.trials[0]
    logged = registry.client().get_run(version.mlflow_run_id)
    assert logged.data.params["C"] == str(best.params["params.C"]) and json.loads(version.tags["keyfold.tuned"]) == best.params
    below = registry.client().search_runs([logged.info.experiment_id], f"tags.mlflow.parentRunId = '{version.mlflow_run_id}'")
    assert {
        (r.info.run_name, r.data.params["params.C"], r.data.metrics["roc_auc"], r.data.tags["keyfold.state"]) for r in below
    } == {(f"trial {t.place + 1}", str(t.params["params.C"]), t.value, "COMPLETE") for t in found.trials}
    page = next(section.html for section in run.sections if section.title == "Trials")
    assert "8 trials (8 complete), best first." in page and "<td>params.C</td>" in page and page.count("<svg") == 1
    assert 'role="img" aria-label="One line a trial' in page
    assert run.jobs[-1].steps[-1].name == "register" and "tune" in [step.name for step in run.jobs[-1].steps]
    again = Run(run.conf, spark)
    assert train(again) == version and again.jobs[-1].status == "done before"


def test_random_draws_over_folds_are_those_of_scikit_learn(spark, home):
    over = {
        "params.C": {"low": 0.01, "high": 10, "log": True},
        "params.max_iter": {"low": 50, "high": 90},
        "params.tol": [1e-4, 1e-3],
    }
    tune = {"search": "random", "over": over, "trials": 5}
    split = {"share": {"train": 0.8, "validation": 0, "test": 0.2}, "folds": 3}
    run, version, given = trained(spark, tune, split=split, train={"class_weight": {"true": 3, "false": 1}})
    paths = {path: path.removeprefix("params.") for path in over}
    drawn = {"C": stats.loguniform(0.01, 10), "max_iter": stats.randint(50, 91), "tol": [1e-4, 1e-3]}
    number = given.rows.table["keyfold_extra:keyfold_number"].to_numpy()
    search = RandomizedSearchCV(
        LogisticRegression(solver="newton-cg", random_state=7, class_weight={True: 3, False: 1}), drawn, n_iter=5, random_state=7, scoring="neg_log_loss", cv=PredefinedSplit(number)
    )  # fmt: skip
    found = compared(search, given, run, paths)
    assert len(set(number)) == 3 and found.metric == "log_loss"
    # As tasks: the same to the bit, but for the number of threads.
    with given.over(spark, 2) as score:
        apart = score([with_params(run.conf.train.model, t.params) for t in found.trials[:3]], None)
    assert apart == pytest.approx([t.value for t in found.trials[:3]], abs=1e-12)


def test_a_trial_that_cannot_be_fitted_or_measured_says_why(spark, home):
    with pytest.raises(
        DataError, match=r"with params.C -1: InvalidParameterError: The 'C' parameter of LogisticRegression must be"
    ):
        trained(spark, GRID | {"over": {"params.C": [-1]}, "parallel": 1})
    with pytest.raises(DataError, match="the validation fold has no row"):
        trained(spark, GRID, split={"share": {"train": 0.8, "validation": 0, "test": 0.2}})
