"""An ensemble is trained, measured beside its members, registered and loaded; its members are tasks of the engine."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold.core.names import PERIOD
from keyfold.models.member_fits import run_in_turn
from keyfold.models.model import Model
from keyfold.tracking import registry
from keyfold.training import fitting
from keyfold.training.job import train
from keyfold.training.one_batch import memorize_one_batch
from labelled_table import run_over

LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}}
MEMBERS = {"linear": LINEAR, "tree": TREE}
STACK = {"stack": {"members": MEMBERS, "meta": LINEAR}}
TUNED = {"vote": {"members": MEMBERS, "weights": "tuned"}}
BAG = {"bag": {"of": TREE, "members": 3}}
SHARE = {"train": 0.6, "validation": 0.2, "test": 0.2}


def table(n=900):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=n), rng.normal(size=n)
    y = np.where(x + np.where(z > 0, 2, 0) + rng.normal(size=n) > 1, "yes", "no")
    group = [f"g{i // 3}" for i in range(n)]
    return pa.table(
        {"id": range(n), "group": group, "x": x, "z": z, "c": [f"c{i % 4}" for i in range(n)], "y": y, PERIOD: ["all"] * n}
    )


def run_of(engine, ensemble, split=None, **more):
    features = {name: {"numeric": {"input_col": name}} for name in "xz"} | {"c": {"one_hot": {"input_col": "c"}}}
    conf = {
        "name": "m", "label": {"column": "y", "positive": "yes"}, "data": {"key": ["id"]}, "features": features,
        "split": {"by": ["group"], "share": SHARE} | (split or {}), "train": {"model": {"ensemble": ensemble}},
    }  # fmt: skip
    return run_over(engine, conf | more, table())


def trained(run, folder):
    version = train(run)
    return Model.load(registry.fetch_model(version, folder)), registry.client().get_run(version.mlflow_run_id).data


@pytest.mark.parametrize("ensemble", [STACK, TUNED, BAG])
def test_an_ensemble_is_measured_beside_its_members(embedded, home, tmp_path, ensemble):
    run = run_of(embedded, ensemble)
    model, logged = trained(run, tmp_path / "model")
    first, *_ = model.estimator.members
    gain = logged.metrics[f"test_member_{first}_roc_auc_gain"]
    assert gain == pytest.approx(logged.metrics["test_roc_auc"] - logged.metrics[f"test_member_{first}_roc_auc"])
    assert logged.params["ensemble"] == next(iter(ensemble)) and logged.metrics["test_roc_auc"] > 0.7
    (section,) = (section.html for section in run.sections if section.title == "Ensemble")
    assert (
        "<td>the ensemble</td><td>ROC AUC ↑</td>" in section and f"<td>{first}</td>" in section and "per million rows" in section
    )
    again = run_of(embedded, ensemble)
    train(again)
    assert again.jobs[-1].status == "done before"


def test_an_ensemble_is_cross_validated_and_measured_without_features(embedded, home, tmp_path):
    run = run_of(embedded, STACK, {"folds": 2}, report={"without": [["z"]]})
    _, logged = trained(run, tmp_path / "stack")
    assert logged.metrics["cross_validated_roc_auc"] > 0.7 and logged.metrics["test_without_z_roc_auc_gain"] > 0
    _, logged = trained(run_of(embedded, TUNED, report={"without": [["z"]]}), tmp_path / "vote")
    assert logged.metrics["test_without_z_roc_auc_gain"] > 0


def test_parameters_of_a_member_are_tuned(embedded, home, tmp_path):
    over = {"stack.members.tree.sklearn.params.max_depth": [1, 4]}
    run = run_of(embedded, STACK, train={"model": {"ensemble": STACK}, "tune": {"search": "grid", "over": over}})
    model, logged = trained(run, tmp_path / "model")
    assert (
        logged.params["stack.members.tree.sklearn.params.max_depth"]
        == str(model.estimator.members["tree"].estimator.max_depth)
        == "4"
    )


def test_members_are_fitted_as_tasks_of_the_engine_with_the_same_bits(engine, home, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "FEW", 0)
    ran = []
    map_shared = type(engine).map_shared
    monkeypatch.setattr(type(engine), "map_shared", lambda self, *given: ran.append(given) or map_shared(self, *given))
    monkeypatch.setattr(type(engine), "tasks", 2)
    model, _ = trained(run_of(engine, STACK), tmp_path / "tasks")
    assert len(ran) == 1
    monkeypatch.setattr(fitting, "_run_tasks", lambda engine, rows, *given: run_in_turn(*given))
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path / "other"))
    other, _ = trained(run_of(engine, STACK), tmp_path / "turn")
    assert model.made_up_predictions == other.made_up_predictions


def test_a_batch_is_memorized_by_an_ensemble(embedded, home, capsys):
    memorize_one_batch(run_of(embedded, TUNED))
    assert "metrics on the" in capsys.readouterr().err
