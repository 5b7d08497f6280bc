"""Whole jobs on both engines: equal tables, specs, models and predictions, bit for bit; one engine carries on what the other began."""

import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import csv

from keyfold.conf.use_case import parse_conf
from keyfold.feature_store.table import offer_view
from keyfold.generators.telecom import Telecom
from keyfold.ingestion.job import ingest
from keyfold.jobs.pipeline import train_and_promote
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from places import ROOT

VARYING = {
    "model_version",
    "run_id",
    "scored_at",
    "quarantined_at",
    "keyfold_run",
}  # ids of tables are random; one process has one registry


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Customer-months of a generated company as CSV, with a bad line, a repeated key and a NULL key."""
    folder = tmp_path_factory.mktemp("source")
    rows = pa.Table.from_batches([Telecom(generator="telecom", customers=600).block(0, 600)])
    csv.write_csv(rows, folder / "rows.csv")
    lines = (folder / "rows.csv").read_text("utf-8").splitlines()
    lines += [lines[-1], "," + lines[5].partition(",")[2], "1,not a date" + "," * 15, "only one cell"]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "rows.csv"


def conf_of(source):
    features = {
        "calls": {"numeric": {"input_col": "calls", "scale": "standard"}},
        "data_gb": {"numeric": {"input_col": "data_gb", "scale": "standard", "missing": "mean"}},
        "contract": {"one_hot": {"input_col": "contract"}},
        "city": {"hashed": {"input_col": "city", "num_buckets": 64}},
        "plan_city": {"crossed": {"input_cols": ["plan", "city"], "num_buckets": 64}},
        "calls_before": {"windowed": {"input_col": "calls", "over": "2 rows", "take": "mean"}},
        "usage_change": {"numeric": {"input_col": "data_change", "missing": 0}},
    }
    estimator = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 300}}
    return parse_conf(
        {
            "name": "engines",
            "data": {
                "source": str(source), "columns": dict(Telecom.types), "key": ["customer_id"], "time": "month", "period": "month",
                "views": ["usage.features"],
            },
            "label": {"column": "left_next_month", "positive": True},
            "split": {"by": ["customer_id"], "share": {"train": 0.6, "validation": 0.2, "test": 0.2}},
            "features": features,
            "train": {"model": {"sklearn": estimator}},
            "score": {"into": "engines.predictions", "actions": {"call": {"top": 0.1}}},
            "report": {"slices": ["contract"]},
        }
    )  # fmt: skip


def usage_of(source):
    change = {"windowed": {"input_col": "data_gb", "over": "2 rows", "take": "return", "current": True}}
    longest = {"windowed": {"input_col": "calls", "over": "all", "take": "max", "current": True}}
    data = {"source": str(source), "columns": dict(Telecom.types), "key": ["customer_id", "month"], "time": "month"}
    features = {"data_change": change, "most_calls": longest}
    return parse_conf({"name": "usage", "data": data | {"period": "month"}, "features": features, "view": {"ttl": "60 days"}})


def rows_of(run, name):
    """The rows of a table as text, in order, without what differs between any two runs."""
    table = run.table(name).frame()
    rows = table.select([column for column in table.columns if column not in VARYING]).rows()
    return sorted(map(repr, rows))


TABLES = ("engines.rows", "engines.quarantine", "engines.predictions", "engines.call", "engines.features", "usage.features")


def run_jobs(engine, state, source):
    """The jobs on an engine, with their tables in a state folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(state))
        view = Run(usage_of(source), engine)
        ingest(view)
        offer_view(view)
        run = Run(conf_of(source), engine)
        ingest(run)
        version = train_and_promote(run)
        score(run, version)
    return run, version


def tables_of(run):
    return {name: rows_of(run, name) for name in TABLES if run.table(name).exists()}


@pytest.fixture(scope="module")
def engines(spark_engine, embedded):
    return {"spark": spark_engine, "embedded": embedded}


@pytest.fixture(scope="module")
def done(engines, source, tmp_path_factory, made_state):
    """By engine: the state folder, the run and the model of the jobs on it."""
    states = {name: made_state(tmp_path_factory.mktemp(name)) for name in engines}
    return {name: (states[name], *run_jobs(engine, states[name], source)) for name, engine in engines.items()}


def test_engines_give_equal_tables_and_models(done):
    (ours, our_tags, our_tables), (theirs, their_tags, their_tables) = (
        (
            {job.name: (job.status, job.counts) for job in run.jobs},
            {key: version.tags[key] for key in ("keyfold.spec_digest", "keyfold.digest") if key in version.tags},
            tables_of(run),
        )
        for _, run, version in done.values()
    )
    assert (ours, our_tags) == (theirs, their_tags)
    assert our_tables.keys() == their_tables.keys() >= {*TABLES} - {"engines.call"}
    for name, rows in our_tables.items():
        assert rows == their_tables[name], name


@pytest.mark.parametrize("first", ["spark", "embedded"])
@pytest.mark.parametrize("second", ["spark", "embedded"])
def test_each_engine_carries_on_what_either_began(engines, done, source, first, second):
    state, run, _ = done[first]
    rows = tables_of(run)
    again, _ = run_jobs(engines[second], state, source)
    assert {job.status for job in again.jobs} == {"done before"}
    assert tables_of(again) == rows


WITHOUT_SPARK = """
import sys

class NoSpark:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pyspark", "delta", "py4j"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoSpark())
from keyfold.cli.main import main
main()
"""


def test_the_embedded_engine_needs_neither_spark_nor_java(tmp_path, made_state):
    state = made_state(tmp_path / "state")
    settings = [f"--set={setting}" for setting in ("engine=embedded", "data.source.customers=2000", "data.source.months=3")]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_SPARK, "pipeline", str(ROOT / "conf" / "churn.yaml"), *settings],
        env={"PATH": "/nowhere", "KEYFOLD_HOME": str(state), "PYTHONPATH": str(ROOT / "lib"), "MPLBACKEND": "Agg", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "churn version 1 is the champion" in run.stdout
