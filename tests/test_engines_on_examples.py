"""The example confs, and the confs that `init` makes of real tables, on both engines: equal tables, specs and metrics, bit for bit."""

import os
from pathlib import Path

import pytest

from keyfold.conf import yaml
from keyfold.conf.use_case import parse_conf
from keyfold.dataset.collisions import COLLISIONS_TABLE
from keyfold.feature_store.table import offer_view
from keyfold.ingestion.job import ingest
from keyfold.profiling.draft_conf import draft_conf
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from places import ROOT
from test_engines import rows_of

pytestmark = pytest.mark.slow
DATA = Path(os.environ.get("KEYFOLD_TEST_DATA", ""))
CONFS = {
    "ads": {"rows": 20_000},
    "churn": {"customers": 8_000, "months": 4},
    "fraud": {"rows": 80_000},
    "houses": {"rows": 5_000},
    "news": {"rows": 4_000},
    "recommend": {"rows": 20_000},
    "retail": {"rows": 20_000},
    "reviews": {"rows": 3_000},
    "spam": {"rows": 4_000},
    "stocks": {},
    "bikes": "citibike_schema",
    "sensors": "nab_sensors/machine_temperature_system_failure.csv",
}
TABLES = {
    "churn_telco/telco-customer-churn-by-IBM.csv": (["customerID"], "Churn"),
    "fairness_adult/adult.csv.gz": (["content"], "income-per-year"),
    "fraud_vehicle/fraud_oracle.csv.gz": (["content"], "FraudFound_P"),
    "housing_california/housing.csv": (["content"], "median_house_value"),
    "reviews_alexa/amazon_alexa_3150.tsv": (["content"], "feedback"),
    "stocks_daily/stockdata2.csv": (["stock", "Date"], "change"),
}
RANDOM = {
    "keyfold.run_id",
    "keyfold.rows",
    "keyfold.manifest",
    "keyfold.model_digest",
}  # tags with a random id, or the digest of files that hold one
OWN = "keyfold."  # tables about tables, with random ids and times; but of collisions


def example(name):
    """An example conf over fewer rows, or over real ones. No figure of so few rows is a reason to refuse a model."""
    conf, source = yaml.parse_yaml((ROOT / "conf" / f"{name}.yaml").read_text("utf-8")), CONFS[name]
    conf["data"]["source"] = str(DATA / source) if isinstance(source, str) else conf["data"]["source"] | source
    conf.pop("release", None)
    return conf


def made_by_init(name):
    key, label = TABLES[name]
    conf = yaml.parse_yaml(draft_conf(str(DATA / name), key, label))
    conf.pop("release", None)
    return conf


def done(engine, state, confs):
    """The jobs of the confs on an engine: all tables of the state folder, and the tags and metrics of the models."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(state))
        for conf in confs:
            run = Run(parse_conf(conf), engine)
            if "source" in conf["data"]:
                ingest(run)
            if "view" in conf:
                offer_view(run)
                continue
            version = train(run)
            score(run, version)
            metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
            found[conf["name"]] = {name: value for name, value in metrics.items() if "cpu" not in name}
            found[conf["name"]] |= {name: value for name, value in version.tags.items() if name not in RANDOM}
        tables = [".".join(log.parent.relative_to(state / "tables").parts) for log in (state / "tables").rglob("_delta_log")]
        return found | {
            name: rows_of(run, name) for name in sorted(tables) if not name.startswith(OWN) or name == COLLISIONS_TABLE
        }


def are_equal(engines, folder, made_state, confs):
    spark, embedded = (done(engine, made_state(folder / engine.name), confs) for engine in engines)
    assert spark.keys() == embedded.keys() and len(spark) >= 3
    for name, found in spark.items():
        assert found == embedded[name], name


@pytest.mark.parametrize("name", CONFS)
def test_example_confs_give_the_same_on_both_engines(name, spark_engine, embedded, tmp_path, made_state):
    if isinstance(CONFS[name], str) and not DATA.name:
        pytest.skip("KEYFOLD_TEST_DATA names no folder of real data")
    views = [yaml.parse_yaml((ROOT / "conf" / "usage.yaml").read_text("utf-8"))] if name == "churn" else []
    are_equal((spark_engine, embedded), tmp_path, made_state, [example(name), *views])


@pytest.mark.skipif(not DATA.name, reason="KEYFOLD_TEST_DATA names no folder of real data")
@pytest.mark.parametrize("name", TABLES)
def test_confs_of_init_give_the_same_on_both_engines(name, spark_engine, embedded, tmp_path, made_state):
    are_equal((spark_engine, embedded), tmp_path, made_state, [made_by_init(name)])
