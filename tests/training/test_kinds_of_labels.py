"""Each kind of label from the table to the predictions: the batch, the served model and MLflow give the same answers."""

import importlib.util
import io
import json

import mlflow
import numpy as np
import pyarrow as pa
import pytest
from mlflow.pyfunc.scoring_server import predictions_to_json

import keyfold as kf
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.errors import DataError
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

N = 600
RATERS = ["r1", "r2", "r3"]
LABELS = {
    "classes": "kind", "labels": "topics", "bands": {"column": "price", "bands": {"quantiles": 4}}, "votes": {"neutral": {"votes": RATERS}},
    "abstain": {"column": "kind", "neutral": {"abstain": 0.6}},
}  # fmt: skip
METRIC = {"classes": "accuracy", "labels": "micro_f1", "bands": "crps", "votes": "answered_accuracy", "abstain": "coverage"}


def table():
    draw = np.random.default_rng(0)
    x, z = draw.random(N), draw.random(N)
    kind = np.array(["a", "b", "c"])[np.clip((3 * x + draw.normal(0, 0.5, N)).astype(int), 0, 2)]
    price = np.exp(3 + x + z + draw.normal(0, 0.3, N))
    topics = [[name for name, of in (("p", x[i]), ("s", z[i])) if of + draw.normal(0, 0.2) > 0.5] for i in range(N)]
    votes = {name: np.where(x + draw.normal(0, 0.2, N) > 0.5, "hi", "lo") for name in RATERS}
    columns = {"id": range(N), "x": x, "z": z, "kind": kind, "price": price, "topics": topics, **votes, PERIOD: ["all"] * N}
    return pa.table(columns)


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def run_of(engine, kind, **sections):
    conf = {
        "name": "kinds", "data": {"key": ["id"]}, "label": LABELS[kind],
        "features": {name: {"numeric": {"input_col": name}} for name in ("x", "z")},
        "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}}, "report": {"slices": ["kind"], "without": [["z"]]}, "split": {"allow": ["x"]},
        "release": {"promote_if": {METRIC[kind]: {"better_than": "champion"}}},
    } | sections  # fmt: skip
    run = Run(parse_conf(conf), engine)
    run.rows.replace(engine.frame(table()), PERIOD, {"all": N})
    return run


@pytest.mark.both_engines
@pytest.mark.parametrize("kind", [kind for kind in LABELS if kind != "abstain"])
def test_a_kind_of_label_is_trained_scored_and_served(engine, home, kind):
    run = run_of(engine, kind)
    version = promote_or_keep(run, train(run))
    score(run, version)
    served = kf.load_model("models:/kinds@champion")
    answers = served.predict(table())
    batch = run.predictions.frame().to_arrow().sort_by("id")
    for name, type_ in served.model.answer_types.items():
        assert batch[name].to_pylist() == answers[name].to_pylist() and answers[name].type == type_, name
    assert set(batch["status"].to_pylist()) == {"scored"}
    read = kf.read_predictions(run.conf).sort_values("id")
    assert read["prediction"].map(plain).tolist() == batch["prediction"].to_pylist()
    assert read["probabilities"].tolist() == [dict(pairs) for pairs in batch["probabilities"].to_pylist()]
    frame = table().select(["x", "z"]).to_pandas()
    pyfunc = mlflow.pyfunc.load_model("models:/kinds@champion").predict(frame)
    assert pyfunc["prediction"].map(plain).tolist() == answers["prediction"].to_pylist()
    body = io.StringIO()
    predictions_to_json(pyfunc.head(2), body)
    first, _ = json.loads(body.getvalue())["predictions"]
    assert first["prediction"] == answers["prediction"][0].as_py() and first["probabilities"] == dict(
        answers["probabilities"][0].as_py()
    )
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    if kind == "classes":
        assert "Classes" in {section.title for section in run.sections}
        truth = table()["kind"].to_numpy()
        assert np.mean(answers["prediction"].to_numpy(zero_copy_only=False) == truth) > 0.6 < metrics["test_accuracy"]
    elif kind in ("votes", "abstain"):
        declined = [name == "neutral" for name in answers["prediction"].to_pylist()]
        if kind == "abstain":
            assert declined == [p < 0.6 for p in answers["probability"].to_pylist()]
        assert 0 < sum(declined) < N and "Coverage" in {section.title for section in run.sections}
        assert metrics["test_answered_accuracy"] > 0.8 and ("test_abstention_gain" in metrics) == (kind == "votes")
    elif kind == "bands":
        low, price, high = (column.to_numpy() for column in (answers["low"], table()["price"], answers["high"]))
        assert np.mean((low <= price) & (price <= high)) > 0.85 and metrics["test_r2"] > 0.4


def test_a_model_that_abstains_is_trained_scored_and_served(embedded, home):
    test_a_kind_of_label_is_trained_scored_and_served(embedded, home, "abstain")


def test_a_second_version_is_compared_with_the_champion_on_all_its_numbers(embedded, home, capsys):
    run = run_of(embedded, "classes")
    promote_or_keep(run, train(run))
    again = run_of(embedded, "classes", features={"z": {"numeric": {"input_col": "z"}}}, report={})
    assert promote_or_keep(again, train(again)).version == "1", "the worse one is not promoted"
    assert "accuracy" in capsys.readouterr().err


def test_a_table_of_other_answers_is_refused(embedded, home):
    run = run_of(embedded, "classes", release={})
    score(run, promote_or_keep(run, train(run)))
    other = run_of(embedded, "bands", release={})
    version = promote_or_keep(other, train(other))
    with pytest.raises(DataError, match="another kind of label"):
        score(other, version)


def test_versions_with_other_thresholds_and_calibrations_are_compared_and_served(embedded, home, capsys):
    above = {"column": "price", "positive": {"above": 50}}
    versions, first = [], None
    for options in ({"calibrate": "isotonic", "threshold": {"recall_at_least": 0.9}}, {"threshold": 0.95}):
        run = run_of(
            embedded, "classes", label=above | options, release={"promote_if": {"f1": {"better_than": "champion"}}}, report={}
        )
        versions.append(promote_or_keep(run, train(run)))
        first = first or run
    assert versions[0] == versions[1], "the second version is compared with the first one, and is worse"
    assert "cannot score these rows" not in capsys.readouterr().err
    assert {"Calibration", "How thresholds were chosen"} <= {section.title for section in first.sections}
    run = run_of(embedded, "classes", label=above, release={}, report={})
    score(run, versions[0])
    served, batch = kf.load_model("models:/kinds/1"), run.predictions.frame().to_arrow().sort_by("id")
    answers, label = served.predict(table()), served.model.label
    assert batch["probability"].to_pylist() == answers["probability"].to_pylist()
    one = [served.predict(table().slice(row, 1))["probability"][0].as_py() for row in range(9)]
    assert one == answers["probability"].to_pylist()[:9] and not served.model.parity.differ
    assert len(set(batch["probability"].to_pylist())) < N / 4, "isotonic: few steps"
    assert label.threshold != 0.5 and batch["prediction"].to_pylist() == [
        p >= label.threshold for p in answers["probability"].to_pylist()
    ]


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs torch: ./tests/run --horovod")
def test_a_network_learns_the_neutral_class_and_stands_alone_in_the_report(embedded, home):
    network = {"torch": {"network": {"wide_deep": {"hidden": [8]}}, "loop": {"epochs": 3, "batch_size": 120}}}
    run = run_of(embedded, "votes", train={"model": network}, report={}, release={})
    assert train(run).version == "1"
    (page,) = (section.html for section in run.sections if section.title == "Coverage")
    assert "a network is not trained once more without the neutral class" in page and "difference" not in page
