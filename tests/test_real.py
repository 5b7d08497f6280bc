"""A real table of 7,043 telecom customers, with the conf that `init` makes of it unaided."""

import os
import statistics
from pathlib import Path

import deltalake
import pytest

from keyfold import registry, yaml
from keyfold.conf import check
from keyfold.ingest import ingest
from keyfold.look import conf_for
from keyfold.run import Run
from keyfold.score import score
from keyfold.training import decide, train

DATA = os.environ.get("KEYFOLD_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")


@pytest.fixture
def raw():
    path = str(Path(DATA) / "churn_telco/telco-customer-churn-by-IBM.csv")
    return yaml.parse(conf_for(path, ["customerID"], "Churn"))


def test_init_and_pipeline_score_every_customer(spark, home, raw):
    assert raw["data"]["columns"]["TotalCharges"] == "double"
    run = Run(check(raw), spark)
    ingest(run)
    score(run, decide(run, train(run)))
    rows = deltalake.DeltaTable(str(run.rows.path)).to_pandas()
    found = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    assert rows.TotalCharges.isna().sum() == 11
    assert len(found) == found.customerID.nunique() == 7043
    assert set(found.status) == {"scored"}
    areas = []
    for salt in range(10):
        other = Run(check(raw | {"split": {"salt": str(salt)}}), spark)
        areas.append(float(train(other).tags["keyfold.roc_auc"]))
    print("test ROC AUC over salts 0 to 9:", areas, statistics.mean(areas))
    assert statistics.mean(areas) >= 0.835
    assert registry.find("models:/" + raw["name"] + "@champion")
