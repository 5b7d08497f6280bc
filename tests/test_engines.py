"""Whole jobs on both engines: equal tables, specs, models and predictions, bit for bit; one engine carries on what the other began."""

import shutil
import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import csv

from keyfold.conf.use_case import parse_conf
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
    }
    estimator = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 300}}
    return parse_conf(
        {
            "name": "engines",
            "data": {
                "source": str(source), "columns": dict(Telecom.types), "key": ["customer_id"], "time": "month", "period": "month",
                "label": "left_next_month", "positive": True,
            },
            "split": {"by": ["customer_id"], "share": {"train": 0.6, "validation": 0.2, "test": 0.2}},
            "features": features,
            "train": {"model": {"sklearn": estimator}},
            "score": {"into": "engines.predictions", "actions": {"call": {"top": 0.1}}},
            "report": {"slices": ["contract"]},
        }
    )  # fmt: skip


def rows_of(run, name):
    """The rows of a table as text, in order, without what differs between any two runs."""
    table = run.table(name).frame()
    rows = table.select([column for column in table.columns if column not in VARYING]).rows()
    return sorted(map(repr, rows))


def counts(run):
    return {job.name: (job.status, job.counts) for job in run.jobs}


TABLES = ("engines.rows", "engines.quarantine", "engines.predictions", "engines.call")


def outcome(run):
    version = train_and_promote(run)
    score(run, version)
    return version


@pytest.fixture
def on_both(spark_engine, embedded, source, tmp_path, made_state, monkeypatch):
    """Runs of the same conf in a state folder of each engine."""

    def start(engine, state):
        monkeypatch.setenv("KEYFOLD_HOME", str(state))
        return Run(conf_of(source), engine)

    folders = {name: made_state(tmp_path / name) for name in ("spark", "embedded")}
    return start, folders, {"spark": spark_engine, "embedded": embedded}


def test_engines_give_equal_tables_and_models(on_both):
    start, folders, engines = on_both
    results = {}
    for name, engine in engines.items():
        run = start(engine, folders[name])
        ingest(run)
        version = outcome(run)
        tags = {key: version.tags[key] for key in ("keyfold.spec_digest", "keyfold.digest") if key in version.tags}
        results[name] = [counts(run), tags, *(rows_of(run, table) for table in TABLES if run.table(table).exists())]
        again = start(engine, folders[name])
        ingest(again)
        outcome(again)
        assert {job.status for job in again.jobs} == {"done before"}
    for ours, theirs in zip(results["spark"], results["embedded"], strict=True):
        assert ours == theirs


@pytest.mark.parametrize(("first", "second"), [("spark", "embedded"), ("embedded", "spark")])
def test_one_engine_carries_on_what_the_other_began(on_both, tmp_path, first, second):
    start, folders, engines = on_both
    run = start(engines[first], folders["spark"])
    ingest(run)
    outcome(run)
    rows = {table: rows_of(run, table) for table in TABLES if run.table(table).exists()}
    other = start(engines[second], folders["spark"])
    ingest(other)
    outcome(other)
    assert {job.status for job in other.jobs} == {"done before"}
    assert {table: rows_of(other, table) for table in rows} == rows
    shutil.rmtree(folders["spark"])


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
