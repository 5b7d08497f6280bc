"""The jobs are plain spark-submit scripts: here on two executors, a Hive catalog, and a Python that does not have keyfold installed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import deltalake
import pytest

from places import ROOT

CONF = {
    "name": "churn",
    "data": {
        "source": {"generator": "telecom", "customers": 2000, "months": 3}, "key": ["customer_id"], "time": "month",
        "period": "month",
    },
    "label": {"column": "left_next_month", "positive": True},
    "split": {"by": ["customer_id"]},
    "features": {
        "tenure": {"numeric": {"input_col": "tenure_days", "scale": "standard"}},
        "usage": {"windowed": {"input_col": "data_gb", "by": "customer_id", "over": "2 rows", "take": "return", "missing": 0}},
        "contract": {"one_hot": {"input_col": "contract"}},
        "plan_city": {"crossed": {"input_cols": ["plan", "city"], "num_buckets": 512}},
    },
    "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
}  # fmt: skip


@pytest.mark.parametrize("job", ["ingest", pytest.param("pipeline", marks=pytest.mark.slow)])
def test_a_cluster_needs_only_the_archive_of_the_package(spark_home, tmp_path, job):
    out = subprocess.run(
        command(tmp_path, spark_home, job),
        cwd=tmp_path,
        env=environment(tmp_path, spark_home),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    assert not (tmp_path / "state/tables").exists(), "tables belong to the catalog"
    rows = deltalake.DeltaTable(str(tmp_path / "warehouse/churn.db/rows")).to_pandas()
    assert "rows         churn.rows" in out.stdout
    assert rows.keyfold_period.nunique() == 3 and f"{len(rows):,} rows" in out.stderr + out.stdout
    if job == "ingest":
        return
    assert "predictions  churn.predictions" in out.stdout
    assert (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "state/mlflow.db").exists()
    found = deltalake.DeltaTable(str(tmp_path / "warehouse/churn.db/predictions")).to_pandas()
    assert sorted(found.customer_id) == sorted(rows[rows.keyfold_period == "2026-10"].customer_id)
    assert (found.status == "scored").all()


def command(folder, spark_home, job):
    shutil.make_archive(str(folder / "keyfold"), "zip", ROOT / "lib", "keyfold")
    jars = (Path(sys.prefix) / "delta-jars").read_text().split()
    submit = [spark_home / "bin/spark-submit", "--master", "local-cluster[2,1,1024]", "--jars", ",".join(jars)]
    settings = {
        "spark.executorEnv.PYTHONDONTWRITEBYTECODE": "1",
        "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1",  # as in conftest.py
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder}/metastore;create=true",
    }
    conf = folder / "churn.yaml"
    conf.write_text(json.dumps(CONF))
    submit += ["--py-files", folder / "keyfold.zip"]
    submit += [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    return [*map(str, submit), str(ROOT / f"jobs/{job}.py"), str(conf)]


def environment(folder, spark_home):
    # Another Python, with the packages of this one but without keyfold.
    venv.create(folder / "python", with_pip=False)
    site = next((folder / "python/lib").glob("python3*/site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    python = str(folder / "python/bin/python")
    clean = os.environ | {"PYTHONPATH": ""}
    missing = subprocess.run([python, "-c", "import keyfold"], env=clean, capture_output=True, text=True)
    assert "No module named 'keyfold'" in missing.stderr
    named = {
        "SPARK_HOME": str(spark_home),
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    places = {"KEYFOLD_HOME": str(folder / "state"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    return clean | named | places
