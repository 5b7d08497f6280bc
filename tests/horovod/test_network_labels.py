"""Networks for each kind of label, from the table to the predictions, and what they refuse."""

import numpy as np
import pyarrow as pa
import pytest

import keyfold as kf
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.errors import ConfError
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.one_batch import memorize_one_batch
from keyfold.training.promotion import promote_or_keep

N = 900
LABELS = {
    "classes": {"column": "kind"}, "bands": {"column": "price", "bands": {"quantiles": 4}}, "labels": {"column": "topics", "separator": ","},
}  # fmt: skip
WIDE = {"wide_deep": {"embedding": 2, "hidden": [8]}}
LOOP = {"epochs": 12, "batch_size": 120, "learning_rate": 0.05}


def table():
    draw = np.random.default_rng(0)
    x, z = draw.random(N), draw.random(N)
    kind = np.array(["a", "b", "c"])[np.clip((3 * x + draw.normal(0, 0.3, N)).astype(int), 0, 2)]
    topics = [
        ",".join(name for name, has in zip("pqr", (a > 0.5, b > 0.5, a + b > 1.2), strict=True) if has)
        for a, b in zip(x, z, strict=True)
    ]
    price = np.exp(3 + x + z + draw.normal(0, 0.1, N))
    return pa.table({"id": range(N), "x": x, "z": z, "kind": kind, "price": price, "topics": topics, PERIOD: ["all"] * N})


def run_of(engine, kind, network=WIDE, loop=LOOP, loss="cross_entropy", **train):
    conf = {
        "name": "kinds", "data": {"key": ["id"]}, "label": LABELS[kind], "split": {"allow": ["x", "z"]},
        "features": {name: {"numeric": {"input_col": name, "scale": "standard"}} for name in ("x", "z")},
        "train": {"model": {"torch": {"network": network, "loop": loop, "loss": loss}}} | train, "report": {"importance": {"repeats": 2}},
    }  # fmt: skip
    run = Run(parse_conf(conf), engine)
    run.rows.replace(engine.frame(table()), PERIOD, {"all": N})
    return run


@pytest.mark.parametrize("kind", LABELS)
def test_a_network_of_a_kind_of_label_is_trained_scored_and_served(embedded, home, kind):
    run = run_of(embedded, kind)
    version = promote_or_keep(run, train(run))
    score(run, version)
    served = kf.load_model("models:/kinds@champion")
    answers = served.predict(table())
    batch = run.predictions.frame().to_arrow().sort_by("id")
    for name, type_ in served.model.answer_types.items():
        assert batch[name].to_pylist() == answers[name].to_pylist() and answers[name].type == type_, name
    assert served.model.parity.differ == 0
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    name, least = {"classes": ("test_accuracy", 0.65), "bands": ("test_r2", 0.7), "labels": ("test_micro_f1", 0.85)}[kind]
    assert metrics[name] > least
    main = {"classes": "macro_f1", "bands": "r2", "labels": "micro_f1"}[kind]
    assert metrics[f"test_importance_x_{main}_low"] > 0.05


def test_a_registered_network_votes(embedded, home):
    network = train(run_of(embedded, "classes", register_as="network"))
    linear = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
    members = {"linear": linear, "network": {"registered": {"model": f"models:/network/{network.version}"}}}
    version = train(run_of(embedded, "classes", model={"ensemble": {"vote": {"members": members}}}))
    model, alone = (kf.load_model(f"models:/{one.name}/{one.version}").model for one in (version, network))
    arrays = model.spec.arrow(table())
    given = [member.numbers(arrays, model.label) for member in model.estimator.members.values()]
    assert given[1].tobytes() == alone.numbers(alone.spec.arrow(table())).tobytes()
    assert model.numbers(arrays) == pytest.approx((given[0] + given[1]) / 2) and model.parity.differ == 0
    assert "torch" in model.estimator.packages


def test_weights_of_classes_are_learnt_and_corrected(embedded, home):
    plain, weighted, corrected = (
        kf.load_model(f"models:/kinds/{train(run_of(embedded, 'classes', **sections)).version}").predict(table())["prediction"].to_pylist()
        for sections in (
            {}, {"rebalance": {"weights": {"a": 1, "b": 20, "c": 1}, "correct": False}}, {"rebalance": {"weights": {"a": 1, "b": 20, "c": 1}}},
        )
    )  # fmt: skip
    assert weighted.count("b") > 1.4 * plain.count("b") and corrected.count("b") < 1.15 * plain.count("b")


@pytest.mark.parametrize("kind", LABELS)
def test_a_network_memorizes_one_batch_of_each_kind(embedded, home, kind, capsys):
    memorize_one_batch(run_of(embedded, kind, loop={"batch_size": 12, "learning_rate": 0.1}))
    assert "the floor is 0, a constant reaches " in capsys.readouterr().err


def test_what_cannot_be_is_a_sentence(embedded, home):
    towers = {"two_tower": {"query": ["x"], "candidate": ["z"]}}
    with pytest.raises(
        ConfError, match=r"two_tower predicts one number, the similarity, and this label needs 3, .*; take wide_deep or joined"
    ):
        train(run_of(embedded, "classes", towers))
    for kind in ("bands", "labels"):
        with pytest.raises(
            ConfError, match=r"train.rebalance balances classes of which each row has one; leave it out for this label"
        ):
            train(run_of(embedded, kind, rebalance={"weights": "balanced"}))
    with pytest.raises(ConfError, match=r"train.rebalance.weights must have the classes a, b and c \(got a, b\)"):
        train(run_of(embedded, "classes", rebalance={"weights": {"a": 1, "b": 2}}))
    with pytest.raises(ConfError, match=r"label: a classifier learns bands, and train.model is a regressor"):
        train(run_of(embedded, "bands", loss="squared_error"))
