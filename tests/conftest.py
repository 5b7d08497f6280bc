"""One session for all tests; a state folder for each."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
os.environ.setdefault("KEYFOLD_SPILL", tempfile.gettempdir())  # the engine of all tests outlives their state folders
# Hundreds of short queries: the JVM's second compiler would take longer over them than it saves.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m")

# Nor does code pay that is written, compiled and loaded for one query of twenty rows, nor a plan that is made in stages.
_QUICK = {
    "spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN", "spark.sql.adaptive.enabled": "false",
}  # fmt: skip

# No shrinking: with Spark it takes minutes; the blob that is printed finds the failing rows again.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
settings.register_profile("keyfold", deadline=None, print_blob=True, phases=_PHASES, suppress_health_check=list(HealthCheck))
settings.load_profile("keyfold")

# As keyfold.tracking.registry makes it on first use, with all its tables and no experiment but MLflow's own.
_MAKE_MLFLOW = "from keyfold.tracking import registry; registry.client().search_experiments()"


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    from keyfold.engine.session import session

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(tmp_path_factory.mktemp("session")))
        made = session("tests")
    for key, value in _QUICK.items():
        made.conf.set(key, value)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def spark_engine(spark):
    from keyfold.engine.engine import SparkEngine

    return SparkEngine(spark)


@pytest.fixture(scope="session")
def embedded():
    from keyfold.engine.engine import EmbeddedEngine

    return EmbeddedEngine()


@pytest.fixture(params=["spark_engine", "embedded"])
def engine(request):
    """Each engine in turn: on Spark, a test without the mark `both_engines` is one of the slow ones."""
    return request.getfixturevalue(request.param)


def pytest_collection_modifyitems(items):
    for item in items:
        params = item.callspec.params.values() if "callspec" in vars(item) else ()
        on_spark = any(isinstance(value, str) and value == "spark_engine" for value in params)
        if on_spark and not item.get_closest_marker("both_engines"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def compiled(spark):
    """For files whose rows must be computed by the code that users run; jobs that a test starts always have it."""
    for key in _QUICK:
        spark.conf.unset(key)
    yield
    for key, value in _QUICK.items():
        spark.conf.set(key, value)


@pytest.fixture
def spark_home(tmp_path):
    """Another SPARK_HOME, for local-cluster writes into it."""
    import pyspark

    home = tmp_path / "spark"
    home.mkdir()
    for part in Path(pyspark.__path__[0]).iterdir():
        (home / part.name).symlink_to(part)
    return home


@pytest.fixture(scope="session")
def made_state(tmp_path_factory):
    """Makes a fresh state folder. MLflow takes seconds to make its database: it does so once, for all test processes."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "template"
    folder.mkdir(exist_ok=True)

    def made_state(state):
        state.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "mlflow.db", state)
        return state

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "mlflow.db").exists():
            environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
            environment |= {"KEYFOLD_HOME": str(folder / "new"), "PYTHONPATH": os.pathsep.join(sys.path)}
            (folder / "new").mkdir(exist_ok=True)
            subprocess.run([sys.executable, "-c", _MAKE_MLFLOW], env=environment, cwd=folder, check=True)
            (folder / "new/mlflow.db").rename(folder / "mlflow.db")
    return made_state


@pytest.fixture
def home(tmp_path, monkeypatch, made_state):
    """A fresh state folder, and MLflow in it."""
    import mlflow

    monkeypatch.setenv("KEYFOLD_HOME", str(made_state(tmp_path / "state")))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(None)
    yield tmp_path / "state"
    mlflow.set_tracking_uri(None)
