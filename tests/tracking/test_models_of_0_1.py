"""Models that keyfold 0.1 registered still load, and answer with the bits of 0.1 (see models_of_0_1/README.md)."""

import json
import os
import shutil
import subprocess
import sys
import tarfile

import mlflow
import pandas as pd
import pyarrow as pa
import pytest

import keyfold
from keyfold.errors import PromiseError
from keyfold.tracking import registry
from places import TESTS

KEPT = TESTS / "models_of_0_1"
ANSWERS = json.loads((KEPT / "answers.json").read_text("utf-8"))
DOUBLES = ["data_gb", "usage_change", "monthly_charge", "calls_before"]
ROWS = pd.DataFrame([answer["row"] for answer in ANSWERS], dtype=object).astype(dict.fromkeys(DOUBLES, float))
URI = "models:/churn/1"
ALONE = """
import sys, mlflow, pandas
answers = mlflow.pyfunc.load_model(sys.argv[1]).predict(pandas.read_pickle(sys.argv[2]))
import keyfold
print(keyfold.__file__, *(p.hex() for p in answers.probability.tolist()))
"""


@pytest.fixture
def root(home, tmp_path, monkeypatch):
    """The model's folder in the store, as version 1 of `churn`."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow adds the model's own code
    folder = tmp_path / "store"
    shutil.copytree(KEPT, folder, ignore=shutil.ignore_patterns("*.xz", "version.json", "answers.json", "*.md", "conf.yaml"))
    with tarfile.open(KEPT / "code.tar.xz") as code:
        code.extractall(folder, filter="data")
    version, api = json.loads((KEPT / "version.json").read_text("utf-8")), registry.client()
    api.create_registered_model(version["name"])
    api.create_model_version(version["name"], str(folder), tags=version["tags"])
    return folder


def as_then(answers):
    assert answers["prediction"].tolist() == [answer["prediction"] for answer in ANSWERS]
    assert [probability.hex() for probability in answers["probability"].tolist()] == [a["probability"] for a in ANSWERS]


def test_load_model_answers_as_0_1_did_and_says_what_is_not_checked(root, caplog):
    served = keyfold.load_model(URI)
    assert "churn version 1 was registered by keyfold 0.1: only the files in `data` are checked" in caplog.text
    as_then(served.predict(ROWS))
    as_then(pd.concat([served.predict(ROWS.iloc[[i]]) for i in range(len(ROWS))]))
    arrow = pa.table({c: pa.array(ROWS[c].tolist() if c not in DOUBLES else ROWS[c]) for c in ROWS if c != "month"})
    month = pa.array(ROWS["month"].tolist(), pa.string()).cast(pa.date32())
    as_then(served.predict(arrow.append_column("month", month)).to_pandas())
    (root / "data/model/spec.json").write_text("{}")
    with pytest.raises(PromiseError, match="the files of churn version 1 are not those that were registered"):
        keyfold.load_model(URI)


def test_mlflow_loads_it_by_this_code_and_by_its_own(root, tmp_path):
    as_then(mlflow.pyfunc.load_model(URI).predict(ROWS))
    ROWS.to_pickle(tmp_path / "rows")
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    run = subprocess.run(
        [sys.executable, "-c", ALONE, URI, str(tmp_path / "rows")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    file, *probabilities = run.stdout.split()
    assert file.endswith("code/keyfold/__init__.py"), "its own code"
    assert probabilities == [answer["probability"] for answer in ANSWERS]
