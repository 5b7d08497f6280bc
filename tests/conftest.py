"""One session for all tests; a state folder for each."""

import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, settings

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")

# No shrinking: with Spark it takes minutes; the blob that is printed finds the failing rows again.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
settings.register_profile("keyfold", deadline=None, print_blob=True, phases=_PHASES, suppress_health_check=list(HealthCheck))
settings.load_profile("keyfold")


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    from keyfold.spark import session

    os.environ["KEYFOLD_HOME"] = str(tmp_path_factory.mktemp("session"))
    made = session("tests")
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A fresh state folder, and MLflow in it."""
    import mlflow

    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(None)
    yield tmp_path / "state"
    mlflow.set_tracking_uri(None)
