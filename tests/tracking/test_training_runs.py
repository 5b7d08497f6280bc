"""The MLflow run of a training: its names, its table, its trials, and the registered model's description."""

import json

import pytest

from keyfold.evaluation.intervals import Metric
from keyfold.tracking import registry, tags, training_runs
from keyfold.tracking.training_runs import TableInput, TrainingLog, TrialRun
from shop_model import shop_model

TRIALS = [
    TrialRun(1, {"params.C": 2}, {"roc_auc": 0.9}, {tags.TRIAL_STATE: "COMPLETE"}),
    TrialRun(0, {"params.C": -1}, {}, {tags.TRIAL_FAILURE: "ValueError: http://me:secret@host"}, failed=True),
]
LOG = TrainingLog(
    use_case="shop", period="2026-10", table=TableInput("shop.rows", "/tables/shop/rows", "0123456789abcdef", 12),
    description="Use case `shop`: first", params={"C": 1, "rows": 40, "long": "x" * 9000}, metrics={"test": {"roc_auc": Metric(0.9, 0.8, float("nan"))}},
    tags={"keyfold.run_id": "r"}, files={"spec.json": "{}"}, steps={7: {"loss": 0.5, "validation_loss": float("nan")}},
    trials=TRIALS,
)  # fmt: skip


@pytest.fixture
def children():
    """The child runs of a version by their name."""

    def children(version):
        run = registry.client().get_run(version.mlflow_run_id)
        below = f"tags.mlflow.parentRunId = '{version.mlflow_run_id}'"
        return {child.info.run_name: child for child in registry.client().search_runs([run.info.experiment_id], below)}

    return children


def test_a_run_says_what_was_trained_on_what(home, children, monkeypatch):
    first = training_runs.register("shop", shop_model(), LOG)
    run = registry.client().get_run(first.mlflow_run_id)
    assert run.info.run_name == "shop v1 2026-10"
    failed, tried = (child for _, child in sorted(children(first).items()))
    assert (failed.info.run_name, tried.info.run_name) == ("shop v1 trial 1", "shop v1 trial 2")
    assert (failed.info.status, failed.data.metrics, failed.data.params) == ("FAILED", {}, {"params.C": "-1"})
    assert "ValueError" in failed.data.tags[tags.TRIAL_FAILURE] and "secret" not in failed.data.tags[tags.TRIAL_FAILURE]
    assert (tried.info.status, tried.data.metrics, tried.data.params) == ("FINISHED", {"roc_auc": 0.9}, {"params.C": "2"})
    assert tried.data.tags[tags.TRIAL_STATE] == "COMPLETE"
    assert run.data.params == {"C": "1", "rows": "40", "long": "x" * 6000}
    assert run.data.metrics == {"test_roc_auc": 0.9, "test_roc_auc_low": 0.8, "loss": 0.5}
    assert registry.test_metrics(first)["roc_auc"].value == 0.9
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("shop.rows", "v12-01234567")
    source = json.loads(dataset.dataset.source)
    assert (source["path"], source["delta_table_version"]) == ("/tables/shop/rows", 12)
    assert registry.read_text(first, "spec.json") == "{}"
    assert registry.registered_by("shop", "r") == first

    # Another job registers a version while this one logs: names follow the version that was made.
    monkeypatch.setattr(training_runs, "_next_version", lambda api, name: 1)
    second = training_runs.register("shop", shop_model(), LOG._replace(description="Use case `shop`: second"))
    assert registry.client().get_run(second.mlflow_run_id).info.run_name == "shop v2 2026-10"
    assert set(children(second)) == {"shop v2 trial 1", "shop v2 trial 2"}


def test_a_description_that_a_person_wrote_is_kept(home):
    api = registry.client()

    def describe(text):
        training_runs._create_registered_model(api, "shop", text)
        return api.get_registered_model("shop").description

    assert describe("Use case `shop`: first") == "Use case `shop`: first"
    assert describe("Use case `shop`: second") == "Use case `shop`: second"
    api.update_registered_model("shop", "Ask Ann before you promote.")
    assert describe("Use case `shop`: third") == "Ask Ann before you promote."
