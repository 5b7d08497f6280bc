"""The whole pipeline on generated data; its tables are read without Spark."""

import os

import deltalake
import numpy as np
import pyarrow as pa
import pytest

from conf_fields import changed_fields, counts, covers
from keyfold.conf.use_case import load_conf, parse_conf
from keyfold.core.names import FOLD
from keyfold.core.section import Section
from keyfold.dataset.fit_features import fit_features
from keyfold.errors import DataError
from keyfold.ingestion.job import ingest
from keyfold.runtime import job_identity
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from places import ROOT

SMALL = ["data.source.customers=3000", "data.source.months=3"]


def pipeline(run):
    ingest(run)
    score(run, promote_or_keep(run, train(run)))
    run.close()
    return run


READ = set()


def record_fields(run):
    """Records in `READ` which field of which section each job reads."""

    def get(self, name):
        if name in type(self).model_fields and run.jobs and run.jobs[-1].status == "failed":
            READ.add((run.jobs[-1].name, type(self), name))
        return object.__getattribute__(self, name)

    return get


def read(home, name):
    return deltalake.DeltaTable(str(home / "tables" / name.replace(".", "/"))).to_pyarrow_table()


@pytest.fixture(scope="module")
def done(spark, tmp_path_factory, made_state):
    """State folder, run and page of a pipeline."""
    import mlflow

    home = made_state(tmp_path_factory.mktemp("pipeline"))
    former = os.environ.get("KEYFOLD_HOME")
    os.environ["KEYFOLD_HOME"] = str(home)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    mlflow.set_tracking_uri(None)
    run = Run(load_conf(ROOT / "conf/churn.yaml", SMALL), spark)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Section, "__getattribute__", record_fields(run))
        pipeline(run)
    page = run.write_report()
    yield home, run, page
    mlflow.set_tracking_uri(None)
    os.environ.pop("KEYFOLD_HOME") if former is None else os.environ.update(KEYFOLD_HOME=former)


def test_every_customer_of_the_month_has_one_prediction(done):
    home, run, _ = done
    rows, predictions = read(home, "churn.rows").to_pandas(), read(home, "churn.predictions")
    due = rows[rows.keyfold_period == "2026-10"].customer_id
    assert sorted(predictions["customer_id"].to_pylist()) == sorted(due), "64-bit keys, one row each"
    assert due.max() > 2**53
    found = predictions.to_pandas()
    assert set(found.period) == {"2026-10"}
    assert (found.status == "scored").all()
    assert found.probability.between(0, 1).all()
    assert ((found.probability >= 0.5) == found.prediction).all()
    assert list(found.columns) == [
        "customer_id", "period", "status", "reason", "fold", "prediction", "probability", "model", "model_version",
        "spec_digest", "run_id", "scored_at",
    ]  # fmt: skip


def test_a_job_reads_only_fields_that_its_identity_covers(done):
    paths = {}
    for owner, name, path, *_ in changed_fields():
        paths.setdefault((owner, name), []).append(path)
    known = {
        (job, of): any(counts(job, p, True) or any(covers(left, job, p) for left in job_identity.EXCLUSIONS) for p in paths[of])
        for job, *of in READ
        for of in [tuple(of)]
        if of in paths
    }
    assert {job for job, _ in known} == {"ingest", "features", "train", "score"} and len(known) > 50
    inside = {(owner, name) for owner, name, _, _, differs in changed_fields() if not differs}
    assert not sorted(f"{job}: {of[0].__name__}.{of[1]}" for (job, of), ok in known.items() if not ok and of not in inside)


def test_the_second_run_commits_nothing(spark, done):
    home, run, _ = done
    table = deltalake.DeltaTable(str(home / "tables/churn/predictions"))
    before, versions = table.version(), registry.find_version("models:/churn@champion")
    again = pipeline(Run(run.conf, spark))
    assert [job.status for job in again.jobs] == ["done before"] * 4
    assert deltalake.DeltaTable(str(home / "tables/churn/predictions")).version() == before
    assert registry.find_version("models:/churn@champion") == versions


def test_the_served_model_gives_the_same_bits_as_the_batch(done):
    import mlflow

    home, _, _ = done
    registry.client()
    rows = read(home, "churn.rows").to_pandas()
    rows = rows[rows.keyfold_period == "2026-10"].set_index("customer_id").sort_index()
    served = mlflow.pyfunc.load_model("models:/churn@champion").predict(rows)
    batch = read(home, "churn.predictions").to_pandas().set_index("customer_id").sort_index()
    assert served.probability.to_numpy().tobytes() == batch.probability.to_numpy().tobytes()
    assert served.prediction.tolist() == batch.prediction.tolist()


def test_the_ledger_and_the_page_account_for_the_run(done):
    home, run, page = done
    ledger = read(home, "keyfold.runs").to_pandas().query("status == 'committed'").drop_duplicates("job").set_index("job")
    assert set(ledger.index) == {"ingest", "features", "train", "score"}
    assert ledger.loc["score", "rows_scored"] == read(home, "churn.predictions").num_rows
    assert ledger.loc["ingest", "rows_read"] == read(home, "churn.rows").num_rows
    assert (ledger.core_hours > 0).all()
    html = page.read_text("utf-8")
    title = "churn: trained v1, promoted, scored 2026-10"
    for words in (
        title,
        "every row has one outcome",
        "Folds",
        "Features",
        "ROC",
        "Calibration",
        "Threshold",
        run.jobs[-1].run_id,
    ):
        assert words in html, words
    assert len(html.encode()) < 400_000
    assert "http://" not in html.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_the_mlflow_run_holds_spec_conf_and_environment(done):
    _, run, _ = done
    version = registry.find_version("models:/churn@champion")
    found = registry.client().get_run(version.mlflow_run_id)
    assert found.data.metrics["test_roc_auc_low"] <= found.data.metrics["test_roc_auc"] <= found.data.metrics["test_roc_auc_high"]
    assert found.data.tags["keyfold.rows"].startswith("['")
    files = {f.path for f in registry.client().list_artifacts(version.mlflow_run_id)}
    assert {"spec.json", "conf.yaml", "environment.json"} <= files
    conf = registry.client().download_artifacts(version.mlflow_run_id, "conf.yaml")
    assert load_conf(conf) == run.conf


def test_fitting_sees_the_train_fold_only(engine, home):
    """Other test rows, the same spec; other train rows, another spec."""
    conf = parse_conf(
        {
            "name": "t",
            "label": "y",
            "data": {"key": ["id"]},
            "features": {"x": {"numeric": {"input_col": "x", "scale": "standard"}}, "c": {"one_hot": {"input_col": "c"}}},
        }
    )
    ids = np.arange(400)

    def table(*others):
        x = np.where(np.isin(ids, others), 1e6, ids)
        return pa.table({"id": ids, "x": x, "c": [str(i % 3) for i in ids], "y": ids % 2 == 0})

    run = Run(conf, engine)
    deltalake.write_deltalake(run.rows.path, table())
    spec, found = fit_features(run)
    fold = {row["id"]: row[FOLD] for row in found.rows.rows()}
    digests = []
    for others in ([i for i in fold if fold[i] == "test"], [next(i for i in fold if fold[i] == "train")]):
        deltalake.write_deltalake(run.rows.path, table(*others), mode="overwrite")
        digests.append(fit_features(run)[0].digest)
    assert digests[0] == spec.digest
    assert digests[1] != spec.digest


def test_a_model_below_the_bar_is_not_promoted_and_the_champion_stays(embedded, done):
    home, run, _ = done
    strict = load_conf(ROOT / "conf/churn.yaml", [*SMALL, "release.promote_if.roc_auc.at_least=0.999", "train.seed=1"])
    standing = registry.champion_of("churn")
    assert promote_or_keep(Run(strict, embedded), train(Run(strict, embedded))) == standing
    alone = load_conf(ROOT / "conf/churn.yaml", [*SMALL, "release.promote_if.roc_auc.at_least=0.999", "train.register_as=alone"])
    with pytest.raises(DataError, match=r"roc_auc on the test fold is 0\.\d+, and must be at least 0\.999"):
        promote_or_keep(Run(alone, embedded), train(Run(alone, embedded)))


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("sklearn.ensemble.HistGradientBoostingClassifier", "{max_iter: 10}"),
        pytest.param("sklearn.ensemble.RandomForestClassifier", "{n_estimators: 10}", marks=pytest.mark.slow),
    ],
)
def test_other_estimators_are_trained_saved_and_loaded(embedded, done, estimator, params):
    home, _, _ = done
    overrides = [*SMALL, f"train.model.sklearn={{estimator: {estimator}, params: {params}}}", "train.register_as=other"]
    overrides += ["features.city.hashed.num_buckets=200", "score.into=churn.other", "release.promote_if={}"]
    overrides += [f"features.{name}.crossed.num_buckets=255" for name in crossed()]
    run = Run(load_conf(ROOT / "conf/churn.yaml", overrides), embedded)
    score(run, promote_or_keep(run, train(run)))
    assert np.isfinite(read(home, "churn.other")["probability"].to_numpy()).all()


def crossed():
    return [name for name, feature in load_conf(ROOT / "conf/churn.yaml").features.items() if feature.choice == "crossed"]


def test_regression(engine, home):
    rows = "\n".join(f"{i},{i % 50},{'abc'[i % 3]},{3 * (i % 50) + (i % 3)}" for i in range(1000))
    (home / "r.csv").write_text("id,x,c,y\n" + rows)
    conf = {
        "name": "r",
        "data": {
            "source": str(home / "r.csv"),
            "columns": {"id": "bigint", "x": "double", "y": "double"},
            "key": ["id"],
        },
        "label": "y",
        "split": {"allow": ["x"]},
        "features": {"x": {"numeric": {"input_col": "x"}}, "c": {"one_hot": {"input_col": "c"}}},
        "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LinearRegression"}}},
        "release": {"promote_if": {"r2": {"at_least": 0.99}}},
    }
    pipeline(Run(parse_conf(conf), engine))
    found = read(home, "r.predictions").to_pandas().set_index("id").sort_index()
    assert found.probability.isna().all()
    assert np.allclose(found.prediction, [3 * (i % 50) + (i % 3) for i in range(1000)], atol=1e-5)
