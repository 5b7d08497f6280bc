"""The job `train` on both engines: the same run id, spec, coefficients and metrics from the same table."""

import shutil

import mlflow
import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.models.model import Model
from keyfold.runtime.run import Run
from keyfold.tracking import registry, tags
from keyfold.training.job import train
from keyfold.training.one_batch import memorize_one_batch
from keyfold.training.promotion import promote_or_keep

RAW = {
    "name": "m",
    "label": {"column": "y", "positive": "yes"}, "data": {"key": ["id"]},
    "split": {"share": {"train": 0.6, "validation": 0, "test": 0.4}, "folds": 2},
    "features": {
        "x": {"numeric": {"input_col": "x", "scale": "standard"}}, "c": {"one_hot": {"input_col": "c"}},
        "words": {"text": {"input_col": "c", "num_buckets": 32}}, "rate": {"target_encoded": {"input_col": "c"}},
        "x_c": {"crossed": {"input_cols": ["c", "b"], "num_buckets": 16}},
    },
    "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}, "rebalance": {"weights": "balanced"}},
    "report": {"slices": ["c", "b", "p"], "truth": "p", "without": [["words"]]},
    "release": {"promote_if": {"roc_auc": {"at_least": 0.5}}},
}  # fmt: skip


def table(n=1200):
    rng = np.random.default_rng(0)
    p = rng.integers(1, 9, n) / 10
    return pa.table(
        {
            "id": range(n), "x": p + rng.normal(0, 0.3, n), "c": [f"c{int(v * 10) % 4}" for v in p], "b": p > 0.5, "p": p,
            "y": np.where(rng.random(n) < p, "yes", "no"), PERIOD: ["all"] * n,
        }
    )  # fmt: skip


def keep(engine, rows=None):
    rows = engine.frame(table() if rows is None else rows)
    Run(parse_conf(RAW), engine).rows.replace(rows, PERIOD, {"all": rows.count()})


def trained(engine, tmp_path, **more):
    """The verdict of a promoted version; its model, metrics and tags."""
    run = Run(parse_conf(RAW | more), engine)
    version = promote_or_keep(run, train(run))
    model = Model.load(registry.fetch_model(version, tmp_path / f"model_{engine.name}"))
    return run, version, model, registry.client().get_run(version.mlflow_run_id).data.metrics


def test_engines_train_the_same_model(spark_engine, embedded, tmp_path, made_state, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = {}
    for engine in (embedded, spark_engine):
        state = made_state(tmp_path / engine.name)
        monkeypatch.setenv("KEYFOLD_HOME", str(state))
        mlflow.set_tracking_uri(None)
        if found:  # the same table, not one with the same rows, which would have another id
            shutil.copytree(tmp_path / "tables", state / "tables")
        else:
            keep(engine)
            shutil.copytree(state / "tables", tmp_path / "tables")
        found[engine.name] = trained(engine, tmp_path)
    mlflow.set_tracking_uri(None)
    (run, version, model, measured), (other_run, other_version, other, other_measured) = found.values()
    assert run.jobs[-1].run_id == other_run.jobs[-1].run_id == version.tags[tags.RUN_ID] == other_version.tags[tags.RUN_ID]
    assert [job.status for job in other_run.jobs] == ["committed", "committed"]
    assert model.spec.to_json() == other.spec.to_json()
    for name in ("coef_", "intercept_"):
        assert getattr(model.estimator.estimator, name).tobytes() == getattr(other.estimator.estimator, name).tobytes()
    assert measured == other_measured and measured["test_roc_auc"] > 0.6 and "cross_validated_roc_auc" in measured
    assert run.verdict.metrics == other_run.verdict.metrics
    print(
        {k: (v, other_version.tags[k]) for k, v in version.tags.items() if v != other_version.tags.get(k)},
        model.certificate.features.schema,
        other.certificate.features.schema,
    )
    assert version.tags.keys() == other_version.tags.keys()
    assert run.sections == other_run.sections
    for one, same in zip(model.certificate, other.certificate, strict=True):
        assert repr(one.to_pydict()) == repr(same.to_pydict())


def test_a_challenger_is_compared_on_the_embedded_engine(embedded, home, tmp_path):
    keep(embedded)
    few = {name: RAW["features"][name] for name in ("words",)}
    better = {"release": {"promote_if": {"roc_auc": {"better_than": "champion"}}}}
    _, first, *_ = trained(embedded, tmp_path / "first", features=few, report={}, split=RAW["split"] | {"folds": None}, **better)
    assert registry.champion_of("m") == first
    run, second, *_ = trained(embedded, tmp_path / "second", **better)
    assert registry.champion_of("m") == second != first
    assert run.verdict.before["roc_auc"] == pytest.approx(registry.test_metrics(first)["roc_auc"].value, abs=1e-12)
    again = Run(run.conf, embedded)
    assert train(again) == second and again.jobs[-1].status == "done before"


def test_rows_that_take_too_much_memory_are_sampled(embedded, home, tmp_path, monkeypatch):
    from keyfold.training import arrays, context, promotion

    keep(embedded)
    for module in (arrays, context):
        monkeypatch.setattr(module, "sample_share", lambda *_: 500_000)
    monkeypatch.setattr(promotion, "MOST_ROWS", 100)
    _, first, *_ = trained(embedded, tmp_path)
    assert first.tags[tags.SAMPLED] == "0.5"


def test_one_batch_is_memorized(embedded, home, capsys):
    keep(embedded)
    memorize_one_batch(Run(parse_conf(RAW), embedded))
    assert "rows that it was trained on: roc_auc 0." in capsys.readouterr().err
