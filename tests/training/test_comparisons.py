"""`report.compare`: variants of the model, trained on the same rows, in the report and in MLflow."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training.job import train

N = 1_500
TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4}}}
NUMBER_TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeRegressor", "params": {"max_depth": 4}}}
BANDS = {"column": "price", "bands": {"quantiles": 6}}
REGRESSION = {"label": {"bands": None, "interval": 0.9}, "train": {"model": NUMBER_TREE}}


def table():
    draw = np.random.default_rng(0)
    x, z = draw.random(N), draw.random(N)
    price = np.exp(3 + x + z + draw.normal(0, 0.3, N))
    kind = np.array(["a", "b", "c"])[np.clip((3 * x + draw.normal(0, 0.5, N)).astype(int), 0, 2)]
    return pa.table({"id": range(N), "x": x, "z": z, "price": price, "kind": kind, PERIOD: ["all"] * N})


@pytest.fixture
def trained(embedded, home):
    def train_it(compare, label=BANDS, model=TREE, **sections):
        conf = {
            "name": "variants", "data": {"key": ["id"]}, "label": label, "train": {"model": model}, "report": {"compare": compare},
            "features": {name: {"numeric": {"input_col": name}} for name in ("x", "z")}, "split": {"allow": ["x"]},
        } | sections  # fmt: skip
        run = Run(parse_conf(conf), embedded)
        if not run.rows.exists():
            run.rows.replace(embedded.frame(table()), PERIOD, {"all": N})
        version = train(run)
        (page,) = (section.html for section in run.sections if section.title == "Variants")
        return registry.client().get_run(version.mlflow_run_id).data.metrics, page

    return train_it


def test_bands_are_compared_with_variants(trained):
    few, scaled = {"label": {"bands": [1e9]}}, REGRESSION | {"label": {"bands": None, "interval": {"share": 0.9, "scaled": True}}}
    metrics, page = trained({"regression": REGRESSION, "scaled": scaled, "without_x": {"without": ["x"]}, "few": few})
    for name in ("rmse", "mae", "r2", "crps", "interval_coverage", "interval_width"):
        model, other, difference = (
            metrics[f"{prefix}_{name}{end}"]
            for prefix, end in (("test", ""), ("test_compared_regression", ""), ("test_compared_regression", "_difference"))
        )
        assert metrics[f"test_compared_model_{name}"] == model and difference == pytest.approx(other - model)
    ratio = metrics["test_compared_regression_rmse_ratio"]
    assert ratio == pytest.approx(metrics["test_compared_regression_rmse"] / metrics["test_rmse"])
    assert metrics["test_compared_regression_rmse_ratio_low"] < ratio < metrics["test_compared_regression_rmse_ratio_high"]
    assert metrics["test_compared_regression_coverage_highest_third"] < metrics["test_compared_model_coverage_highest_third"]
    of_scaled = {
        name: metrics[f"test_compared_scaled_{name}"] for name in ("rmse", "crps", "coverage_highest_third", "interval_width")
    }
    assert [of_scaled[name] == metrics[f"test_compared_regression_{name}"] for name in ("rmse", "crps")] == [True, True]
    assert of_scaled["coverage_highest_third"] > metrics["test_compared_regression_coverage_highest_third"]
    for text in ("RMSE, divided by that of the model", "coverage lowest third", "CRPS ↓", ">regression</th>"):
        assert text in page
    assert "no row of the train fold is in the band" in page and "test_compared_few_rmse" not in metrics, "training goes on"
    # Each equals the model that is trained with its options.
    number, _ = trained({"seed": {"train": {"seed": 1}}}, label={"column": "price", "interval": 0.9}, model=NUMBER_TREE)
    for name in ("rmse", "interval_width", "interval_coverage", "pinball_loss"):
        assert metrics[f"test_compared_regression_{name}"] == number[f"test_{name}"], name
    less, _ = trained({"seed": {"train": {"seed": 1}}}, features={"z": {"numeric": {"input_col": "z"}}})
    assert metrics["test_compared_without_x_crps"] == less["test_crps"] > metrics["test_crps"]


def test_classes_are_compared_by_their_metrics(trained):
    metrics, page = trained({"without_x": {"without": ["x"]}, "depth": {"train": {"seed": 2}}}, label="kind")
    assert metrics["test_compared_without_x_accuracy_difference"] < 0 == metrics["test_compared_depth_accuracy_difference"]
    assert metrics["test_compared_model_log_loss"] == metrics["test_log_loss"] and "Variants" not in page


def test_tuned_parameters_are_those_of_variants_without_a_model_of_their_own(trained):
    tune = {"search": "grid", "over": {"params.max_depth": [1]}}
    metrics, _ = trained(
        {"same": {"train": {"seed": 1}}, "deep": {"train": {"model": TREE}}}, train={"model": TREE, "tune": tune}
    )
    assert metrics["test_compared_same_crps"] == metrics["test_crps"] > metrics["test_compared_deep_crps"]
