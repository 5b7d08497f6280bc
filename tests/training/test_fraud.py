"""Ways of rebalancing on real claims of vehicle insurance, of which 6 % are frauds."""

import gzip
import importlib.util
import os
from pathlib import Path

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training.job import train

DATA = os.environ.get("KEYFOLD_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")
NUMBERS = ("Age", "Deductible", "DriverRating", "Year", "WeekOfMonth", "WeekOfMonthClaimed")
WAYS = {"majority 0.2": {"majority": 0.2}, "minority 5": {"minority": 5}, "weights balanced": {"weights": "balanced"}}
WAYS |= {"smote 5": {"smote": {"neighbours": 5}}} if importlib.util.find_spec("imblearn") else {}


def claims():
    source = Path(str(DATA)) / "fraud_vehicle" / "fraud_oracle.csv.gz"
    with gzip.open(source, "rt", encoding="utf-8-sig") as file:
        names = file.readline().strip().split(",")
    integers = (*NUMBERS, "PolicyNumber", "RepNumber", "FraudFound_P")
    features = {
        name: {"numeric": {"input_col": name, "scale": "standard"}} if name in NUMBERS else {"target_encoded": {"input_col": name}}
        for name in names if name not in ("PolicyNumber", "RepNumber", "FraudFound_P")
    }  # fmt: skip
    return parse_conf(
        {
            "name": "claims",
            "data": {
                "source": str(source), "key": ["PolicyNumber"],
                "columns": {name: "bigint" if name in integers else "string" for name in names},
            },
            "label": {"column": "FraudFound_P", "positive": 1},
            "split": {"share": {"train": 0.6, "validation": 0, "test": 0.4}},
            "features": features,
            "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 2000}}}},
            "report": {"rebalance": list(WAYS.values()), "precision": 0.15},
        }
    )  # fmt: skip


def test_probabilities_stay_those_of_the_true_shares(embedded, home):
    run = Run(claims(), embedded)
    ingest(run)
    version = train(run)
    assert run.quarantine.frame().to_arrow().num_rows == 6, "both rows of each key that occurs twice"
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics

    def of(way, name):
        return metrics[f"test_rebalanced_{way}_{name}"]

    for way in WAYS:
        # Without rebalancing the mean is that of the train fold; the test fold has another rate by chance.
        assert abs(of(way, "probability_over_rate_difference")) < 0.01
        assert of("none", "brier_low") < of(way, "brier") < of("none", "brier_high")
        assert abs(of(way, "pr_auc_difference")) < 0.02
