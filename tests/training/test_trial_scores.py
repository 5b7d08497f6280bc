"""Trials are those of scikit-learn's own searches, with the same scores; they are on the page and in MLflow."""

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, RandomizedSearchCV

from keyfold.conf.tune import with_params
from keyfold.conf.use_case import parse_conf
from keyfold.errors import DataError
from keyfold.models.sklearn import Estimator
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training import trial_scores
from keyfold.training.job import train
from keyfold.training.search import search_parameters
from tuning import GRID, raw_conf


def trained(engine, tune, **more):
    """The run, its version, and what the trials were given."""
    run, kept, ids = Run(parse_conf(raw_conf(tune, **more)), engine), [], range(1500)
    rows = pa.table(
        {
            "id": ids, "x": [i * 7919 % 1009 / 1000 for i in ids], "c": [f"c{i % 5}" for i in ids],
            "y": [i * 7919 % 1009 + i * 31 % 800 + 100 * (i % 5) > 1000 for i in ids],
        }
    )  # fmt: skip
    if not run.rows.exists():
        run.rows.append(engine.frame(rows))
    over = trial_scores.EstimatorTrials.over
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_scores.EstimatorTrials, "over", lambda self, *given: kept.append(self) or over(self, *given))
        return run, train(run), kept[0]


def matrix(given):
    return Estimator(None, given.rows.spec, sparse=True).matrix(given.rows.arrays), given.rows.y


def compared(search, given, run, paths):
    """scikit-learn's search chooses the same; its scores are ours."""
    search.fit(*matrix(given))
    found = search_parameters(run.conf.train, run.jobs[-1].run_id, None, run.say)
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


def test_a_grid_is_that_of_scikit_learn_and_is_on_the_page_and_in_mlflow(embedded, home):
    run, version, given = trained(embedded, GRID)
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
    } == {(f"t v1 trial {t.place + 1}", str(t.params["params.C"]), t.value, "COMPLETE") for t in found.trials}
    page = next(section.html for section in run.sections if section.title == "Trials")
    assert "8 trials (8 complete), best first." in page and "<td>params.C</td>" in page and page.count("<svg") == 1
    assert 'role="img" aria-label="One line per trial' in page
    assert run.jobs[-1].steps[-1].name == "register" and "tune" in [step.name for step in run.jobs[-1].steps]
    again = Run(run.conf, embedded)
    assert train(again) == version and again.jobs[-1].status == "done before"


def test_random_draws_over_folds_are_those_of_scikit_learn(engine, home):
    over = {
        "params.C": {"low": 0.01, "high": 10, "log": True},
        "params.max_iter": {"low": 50, "high": 90},
        "params.tol": [1e-4, 1e-3],
    }
    tune = {"search": "random", "over": over, "trials": 5}
    split = {"share": {"train": 0.8, "validation": 0, "test": 0.2}, "folds": 3}
    run, version, given = trained(
        engine, tune, split=split, train={"rebalance": {"weights": {"true": 3, "false": 1}, "correct": False}}
    )
    paths = {path: path.removeprefix("params.") for path in over}
    drawn = {"C": stats.loguniform(0.01, 10), "max_iter": stats.randint(50, 91), "tol": [1e-4, 1e-3]}
    number = given.rows.table["keyfold_extra:keyfold_number"].to_numpy()
    search = RandomizedSearchCV(
        LogisticRegression(solver="newton-cg", random_state=7, class_weight={True: 3, False: 1}), drawn, n_iter=5, random_state=7, scoring="neg_log_loss", cv=PredefinedSplit(number)
    )  # fmt: skip
    found = compared(search, given, run, paths)
    assert len(set(number)) == 3 and found.metric == "log_loss"
    # As tasks: the same to the bit, but for the number of threads.
    with given.over(engine, 2) as score:
        apart = score([with_params(run.conf.train.model, t.params) for t in found.trials[:3]], None)
    assert apart == pytest.approx([t.value for t in found.trials[:3]], abs=1e-12)


def test_a_trial_that_cannot_be_fitted_or_measured_says_why(embedded, home):
    with pytest.raises(
        DataError, match=r"with params.C -1: InvalidParameterError: The 'C' parameter of LogisticRegression must be"
    ):
        trained(embedded, GRID | {"over": {"params.C": [-1]}, "parallel": 1})
    with pytest.raises(DataError, match="the validation fold has no row"):
        trained(embedded, GRID, split={"share": {"train": 0.8, "validation": 0, "test": 0.2}})
