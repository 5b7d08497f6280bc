"""What features gain: the planted crosses are found, what has no effect gains nothing, and a refit is a model of its own."""

import os
from types import SimpleNamespace

import mlflow
import pyarrow as pa
import pytest

from keyfold.conf.use_case import load_conf, parse_conf
from keyfold.core.digests import digest
from keyfold.errors import ConfError
from keyfold.features.spec import Spec
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training import ablation
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from places import ROOT

SMALL = ["data.source.rows=30000", "split.share={train: 0.7, validation: 0, test: 0.3}"]
CROSSES = {"ads": ["group_ad", "device_hour"], "recommend": ["age_category", "views_price"]}


def metrics_of(version):
    return registry.client().get_run(version.mlflow_run_id).data.metrics


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in CROSSES])
def done(request, spark, tmp_path_factory, made_state):
    """The whole pipeline on a small log: its run, its model's metrics, its page."""
    former, home = os.environ.get("KEYFOLD_HOME"), made_state(tmp_path_factory.mktemp("ablation"))
    os.environ["KEYFOLD_HOME"] = str(home)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    mlflow.set_tracking_uri(None)
    run = Run(load_conf(ROOT / f"conf/{request.param}.yaml", SMALL), spark)
    ingest(run)
    version = promote_or_keep(run, train(run))
    score(run, version)
    page = run.write_report().read_text("utf-8")
    yield SimpleNamespace(name=request.param, run=run, version=version, metrics=metrics_of(version), page=page)
    mlflow.set_tracking_uri(None)
    os.environ.pop("KEYFOLD_HOME") if former is None else os.environ.update(KEYFOLD_HOME=former)


def gain(done, feature, metric):
    return [done.metrics[f"test_without_{feature}_{metric}_gain{part}"] for part in ("_low", "", "_high")]


def test_each_planted_cross_gains(done):
    for cross in CROSSES[done.name]:
        low, value, high = gain(done, cross, "roc_auc")
        assert 0 < low < value < high, cross
        low, value, high = gain(done, cross, "log_loss")
        assert low < value < high < 0, cross


def test_what_has_no_effect_gains_nothing(done):
    for metric in ("roc_auc", "log_loss"):
        low, value, high = gain(done, "layout", metric)
        assert low <= 0 <= high, metric
        assert abs(value) < 0.002


def test_a_difference_is_that_of_both_models(done):
    for feature in (*CROSSES[done.name], "layout"):
        less = done.metrics[f"test_without_{feature}_roc_auc"]
        assert gain(done, feature, "roc_auc")[1] == done.metrics["test_roc_auc"] - less


def test_the_page_shows_both_and_the_difference(done):
    part = done.page.split("<h2>Gain of features</h2>")[1].split("</section>")[0]
    for feature in (*CROSSES[done.name], "layout"):
        assert f"<td>{feature}</td><td>ROC AUC ↑</td>" in part
        assert f"<td>{feature}</td><td>Log loss ↓</td>" in part
    assert f"{done.metrics['test_roc_auc']:.3f}" in part
    assert "no gain" in part


@pytest.mark.slow
@pytest.mark.parametrize("done", ["ads"], indirect=True)
def test_a_model_without_features_is_the_model_of_a_conf_that_has_none_of_them(spark, done):
    cross = CROSSES[done.name][0]
    raw = done.run.conf.model_dump(mode="json", exclude_defaults=True)
    del raw["features"][cross]
    raw["report"].pop("without")
    raw["train"]["register_as"] = "fewer"
    found = metrics_of(train(Run(parse_conf(raw), spark)))
    of = f"test_without_{cross}_"
    assert {n: v for n, v in done.metrics.items() if n.startswith(of) and "gain" not in n} == {
        f"{of}{name}{part}": found[f"test_{name}{part}"] for name in ("roc_auc", "log_loss") for part in ("", "_low", "_high")
    }


# --- what is left ---

RAW = {
    "name": "t",
    "label": "y",
    "data": {"key": ["id"]},
    "split": {"allow": ["c"]},
    "features": {
        "x": {"bucketized": {"input_col": "x", "boundaries": [3]}},
        "c": {"one_hot": {"input_col": "c"}},
        "x_c": {"crossed": {"input_cols": [{"feature": "x"}, "c"], "num_buckets": 8}},
    },
    "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LinearRegression"}}},
}


def table():
    ids = range(400)
    columns = {"x": [float(i % 7) for i in ids], "c": [f"c{i % 3}" for i in ids], "y": [float(i % 3) for i in ids]}
    return pa.table({"id": ids, **columns})


def trained(engine, **report):
    run = Run(parse_conf(RAW | report), engine)
    run.rows.append(engine.frame(table()))
    return run, metrics_of(train(run))


def test_a_spec_of_fewer_features_takes_fewer_columns_and_gives_the_same_values():
    whole = Spec.fit(table(), parse_conf(RAW).features)
    part = ablation.without_features(whole, ["x_c", "x"])
    assert list(part.features) == ["c"]
    assert list(part.inputs) == ["c"]
    rows = table()
    assert part.arrow(rows)["c"].tolist() == whole.arrow(rows)["c"].tolist()
    with pytest.raises(ConfError, match="feature `x_c` takes `x`; leave out both, or neither"):
        ablation.without_features(whole, ["x"])


def test_numbers_have_their_own_metrics(engine, home):
    run, found = trained(engine, report={"without": [["c"], ["x_c", "x"]]})
    assert found["test_without_c_rmse_gain_high"] < 0
    assert abs(found["test_without_x_c.x_mae_gain"]) < 1e-6
    assert "test_without_c_roc_auc" not in found
    assert "RMSE gained" in run.sections[-1].html


def test_asking_for_more_trains_anew_and_asking_again_does_not(embedded, home):
    run, _ = trained(embedded, report={"without": [["c"]]})
    again = Run(run.conf, embedded)
    assert train(again) == registry.find_version("models:/t/1")
    assert again.jobs[-1].status == "done before"
    other = train(Run(parse_conf(RAW | {"report": {"without": [["c"], ["x_c"]]}}), embedded))
    assert int(other.version) == 2
    assert "test_without_x_c_rmse_gain" in metrics_of(other)


def test_without_a_test_fold_nothing_is_said(embedded, home):
    run, found = trained(
        embedded, report={"without": [["c"]]}, split={"share": {"train": 1, "validation": 0, "test": 0}, "allow": ["c"]}
    )
    assert not [name for name in found if "without" in name]
    assert "Gain of features" not in [section.title for section in run.sections]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["a b", "c-d.e"], "test_without_a b.c-d.e"),
        (["größe"], "test_without_größe"),
        (["a$"], "test_without_a_24_"),
        (["x" * 300], "test_without_" + digest("x" * 300)),
    ],
)
def test_names_for_mlflow(names, name):
    assert ablation.Ablation(names, {}, {}).name == name
