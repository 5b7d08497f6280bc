"""MLflow runs of scoring jobs."""

import logging

from mlflow.exceptions import MlflowException

from keyfold.tracking import registry, scoring_runs
from keyfold.tracking.registry import Registered
from keyfold.tracking.scoring_runs import log_scoring

VERSION = Registered("shop", "3", "abc", {})
COUNTS = {"read": 10, "scored": 9, "quarantined": 1}


def test_a_scoring_is_a_run_of_its_use_case(home):
    run_id = log_scoring("shop", VERSION, "2026-10", "r", COUNTS)
    run = registry.client().get_run(run_id)
    assert registry.client().get_experiment(run.info.experiment_id).name == "shop"
    assert (run.info.run_name, run.info.status) == ("shop v3 2026-10 scored", "FINISHED")
    assert run.data.metrics == {"rows_read": 10, "rows_scored": 9, "rows_quarantined": 1}
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("keyfold.")}
    assert tags == {
        "keyfold.job": "score", "keyfold.run_id": "r", "keyfold.name": "shop", "keyfold.period": "2026-10", "keyfold.model": "shop",
        "keyfold.model_version": "3",
    }  # fmt: skip


def test_a_server_that_is_down_is_a_warning(monkeypatch, caplog):
    def unreachable():
        raise MlflowException("API request to http://me:secret@mlflow.example failed")

    monkeypatch.setattr(scoring_runs, "client", unreachable)
    with caplog.at_level(logging.WARNING, "keyfold"):
        assert log_scoring("shop", VERSION, "2026-10", "r", COUNTS) == ""
    assert "MLflow has no run of this scoring (MlflowException); the predictions are committed" in caplog.text
    assert "secret" not in caplog.text
