"""Classes that a regressor predicts as numbers: the conf of the README, with fewer rows."""

import re

import numpy as np
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.conf.yaml import parse_yaml
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from places import ROOT


def test_the_number_of_a_class_is_predicted(embedded, home):
    readme = (ROOT / "lib/keyfold/labels/README.md").read_text("utf-8")
    (text,) = re.findall(r"## Classes as numbers.*?```yaml\n(.*?)```", readme, re.DOTALL)
    raw = parse_yaml(text)
    raw["data"]["source"]["rows"], raw["label"]["interval"] = 3000, 0.9
    run = Run(parse_conf(raw), embedded)
    ingest(run)
    version = train(run)
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    assert metrics["test_r2"] > 0.5 and metrics["test_importance_category_r2_low"] > 0.8
    assert abs(metrics["test_importance_views_r2"]) < 0.01
    score(run, version)
    rows = run.predictions.frame().to_arrow()
    low, value, high = (rows[name].to_numpy() for name in ("low", "prediction", "high"))
    assert high - value == pytest.approx(value - low) and np.unique((high - low).round(9)).size == 1
    truth = dict(zip(*run.rows.frame().select(["visit_id", "price_range"]).to_arrow().to_pydict().values(), strict=True))
    number = np.array([raw["label"]["as"][truth[key]] for key in rows["visit_id"].to_pylist()])
    assert np.mean((low <= number) & (number <= high)) > 0.8 and np.corrcoef(value, number)[0, 1] > 0.6
