"""Candidates: the best on held-out rows is the model, the same as if the conf named it alone; all are compared on the test fold."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold.core.names import PERIOD
from keyfold.errors import ConfError, DataError
from keyfold.evaluation.metrics import METRICS
from keyfold.models.model import Model
from keyfold.runtime.run_page import write_page
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.one_batch import memorize_one_batch
from labelled_table import run_over

LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4}}}
STUMP = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}}}
WRONG = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": -1}}}
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
TREE_OF_NUMBERS = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeRegressor", "params": {"max_depth": 6}}}
SHARE = {"train": 0.6, "validation": 0.2, "test": 0.2}
THREE = {"stump": STUMP, "linear": LINEAR, "tree": TREE}


def table(n=900):
    """A number that depends on the size of another one, which no linear model learns, and whether it is large."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=n), rng.normal(size=n)
    amount = abs(x) + rng.normal(size=n) / 3
    y = np.where(amount > 0.7, "yes", "no")
    return pa.table({"id": range(n), "x": x, "z": z, "amount": amount, "y": y, PERIOD: ["all"] * n})


def run_of(engine, section, **more):
    conf = {
        "name": "m", "label": {"column": "y", "positive": "yes"}, "data": {"key": ["id"]}, "split": {"share": SHARE},
        "features": {name: {"numeric": {"input_col": name}} for name in "xz"}, "train": section,
    }  # fmt: skip
    return run_over(engine, conf | more, table())


def trained(run):
    version = train(run)
    return version, registry.client().get_run(version.mlflow_run_id).data


def section_of(run):
    (section,) = (section.html for section in run.sections if section.title == "Candidates")
    return section


def test_the_best_on_validation_is_the_model_as_if_it_were_alone(embedded, home, tmp_path, capsys):
    run = run_of(embedded, {"models": THREE, "seed": 3}, label={"column": "y", "positive": "yes", "calibrate": "sigmoid"})
    version, logged = trained(run)
    others = {}
    for name in ("linear", "tree"):
        others[name] = trained(
            run_of(embedded, {"model": THREE[name], "seed": 3}, label=run.conf.label.model_dump(exclude_defaults=True))
        )
        of_alone = others[name][1].metrics
        assert logged.metrics[f"validation_candidate_{name}_log_loss"] == of_alone["validation_log_loss"], "no row of test"
        if name != "tree":
            assert logged.metrics[f"test_candidate_{name}_roc_auc"] == of_alone["test_roc_auc"]
            gain = of_alone["test_roc_auc"] - logged.metrics["test_roc_auc"]
            assert logged.metrics[f"test_candidate_{name}_roc_auc_difference"] == pytest.approx(gain)
    alone, of_alone = others["tree"]
    one, other = (Model.load(registry.fetch_model(v, tmp_path / v.version)) for v in (version, alone))
    assert one.made_up_predictions == other.made_up_predictions and one.calibrator == other.calibrator
    assert of_alone.metrics.items() <= logged.metrics.items()
    assert logged.params["candidate"] == version.tags["keyfold.candidate"] == "tree" and logged.params["max_depth"] == "4"
    assert "`tree` is chosen by log_loss (validation): tree 0." in capsys.readouterr().err
    assert f"{version}, DecisionTreeClassifier" in write_page(run).read_text("utf-8")


def test_the_page_compares_the_candidates_and_a_constant(embedded, home):
    run = run_of(embedded, {"models": THREE, "choose_by": "roc_auc"})
    _, logged = trained(run)
    assert logged.params["candidate"] == "tree", "a higher ROC AUC is better"
    page = section_of(run)
    rows = [part.split("</td>")[0] for part in page.split("<tr><td>")[1:]]
    assert rows[0] == "tree" and sorted(rows[1:4]) == ["linear", "naive (constant)", "stump"]
    assert sorted(rows[4:]) == ["linear", "naive (constant)", "stump"] and "<th scope=col>minus tree</th>" in page
    assert "chosen by ROC AUC ↑" in page and "<svg" in page
    assert logged.metrics["test_naive_roc_auc"] == 0.5 and logged.metrics["test_naive_roc_auc_difference"] < -0.2
    assert run.facts["candidates"].startswith("ROC AUC of the candidates (validation): tree 0.")
    again = run_of(embedded, {"models": THREE, "choose_by": "roc_auc"})
    train(again)
    assert again.jobs[-1].status == "done before"


def test_a_candidate_that_cannot_be_trained_is_reported_and_the_others_go_on(embedded, home, capsys):
    run = run_of(embedded, {"models": {"wrong": WRONG, "tree": TREE}})
    version, logged = trained(run)
    reason = "InvalidParameterError: The 'C' parameter of LogisticRegression must be"
    assert f"candidate `wrong`: {reason}" in capsys.readouterr().err and reason in section_of(run).replace("&#39;", "'")
    assert version.tags["keyfold.candidate"] == "tree" and "validation_candidate_wrong_log_loss" not in logged.metrics
    with pytest.raises(DataError, match=r"no candidate can be trained: `a`: InvalidParameterError: .*; `b`: Invalid"):
        train(run_of(embedded, {"models": {"a": WRONG, "b": WRONG}}))


def test_candidates_are_chosen_by_cross_validation(embedded, home):
    share = {"train": 0.8, "validation": 0, "test": 0.2}
    run = run_of(
        embedded, {"models": {"linear": LINEAR, "tree": TREE}, "choose_by": "roc_auc"}, split={"share": share, "folds": 3}
    )
    version, logged = trained(run)
    assert version.tags["keyfold.candidate"] == "tree"
    scores = [logged.metrics[f"cross_validated_candidate_{name}_roc_auc"] for name in ("linear", "tree")]
    assert scores == sorted(scores) and scores[1] != logged.metrics["cross_validated_roc_auc"], "the mean over the parts"


def test_numbers_are_compared_with_their_mean(embedded, home):
    run = run_of(embedded, {"models": {"ridge": RIDGE, "tree": TREE_OF_NUMBERS}}, label={"column": "amount", "interval": 0.8})
    _, logged = trained(run)
    assert logged.params["candidate"] == "tree"
    spread = table()["amount"].to_numpy().std()
    assert logged.metrics["test_naive_rmse"] == pytest.approx(spread, rel=0.3) and logged.metrics["test_naive_r2"] <= 0
    assert logged.metrics["test_candidate_ridge_rmse_difference"] > 0 > logged.metrics["test_candidate_ridge_r2_difference"]


def test_a_single_model_stands_beside_a_constant(embedded, home):
    run = run_of(embedded, {"model": TREE})
    _, logged = trained(run)
    measured = {name.removeprefix("test_naive_") for name in logged.metrics if name.startswith("test_naive_")}
    assert measured == {name for name in METRICS if METRICS[name].brief and "binary" in METRICS[name].kinds}
    (page,) = (section.html for section in run.sections if section.title == "Metrics")
    assert '<th class="n" scope=col>test, of a constant</th>' in page


def test_one_batch_is_of_one_model(embedded, home):
    with pytest.raises(ConfError, match=r"add --set train\.models=null"):
        memorize_one_batch(run_of(embedded, {"models": THREE}))
