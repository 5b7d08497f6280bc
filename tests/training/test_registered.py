"""Registered models vote beside models that are fitted: pinned, verified, measured and saved with the same bits; or refused in a sentence."""

import json

import numpy as np
import pyarrow as pa
import pytest

import keyfold as kf
from keyfold.conf.use_case import parse_conf
from keyfold.core.digests import folder_digest
from keyfold.core.names import PERIOD
from keyfold.dataset.fit_features import fit_features
from keyfold.errors import DataError, PromiseError
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec
from keyfold.labels import Binary
from keyfold.models.model import Model
from keyfold.models.predictor import predict_rows
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry, tags
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from keyfold.training.registered import join_members

LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}}
OLD = {
    "range": {"bucketized": {"input_col": "z", "boundaries": [-0.5, 0.5]}},
    "kind": {"index": {"input_col": "c"}},
    "both": {"crossed": {"input_cols": [{"feature": "range"}, {"feature": "kind"}], "num_buckets": "exact"}},
    "rate": {"target_encoded": {"input_col": "c"}},
}
FEATURES = {"x": {"numeric": {"input_col": "x"}}, "z": {"numeric": {"input_col": "z"}}}
SHARE = {"train": 0.6, "validation": 0.2, "test": 0.2}


def table(n=900):
    rng = np.random.default_rng(0)
    x, z, c = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 4, n)
    y = np.where(x + np.where(z > 0, 2, 0) + (c == 1) + rng.normal(size=n) > 1, "yes", "no")
    more = {"y": y, "w": y, "t": [f"{n}" for n in z.round(1)], PERIOD: ["all"] * n}
    return pa.table({"id": range(n), "x": x, "z": z, "c": [f"c{i}" for i in c]} | more)


def run_of(engine, model, features=FEATURES, name="m", register_as=None, **more):
    conf = {
        "name": name, "label": {"column": "y", "positive": "yes"}, "data": {"key": ["id"]}, "features": features,
        "split": {"salt": "m", "share": SHARE, "allow": ["w"]}, "train": {"model": model, "register_as": register_as},
    }  # fmt: skip
    run = Run(parse_conf(conf | more), engine)
    if not run.rows.exists():
        run.rows.replace(engine.frame(table()), PERIOD, {"all": 900})
    return run


def vote(uri="models:/old@champion", weights="tuned", new=LINEAR):
    return {"ensemble": {"vote": {"members": {"new": new, "old": {"registered": {"model": uri}}}, "weights": weights}}}


def trained_old(engine, model=TREE, features=OLD, **more):
    """A registered model that is calibrated, on other features; the champion, or the next version."""
    label = {"column": "y", "positive": "yes", "calibrate": "sigmoid"}
    version = train(run_of(engine, model, features, **{"name": "base", "register_as": "old", "label": label} | more))
    registry.promote(version)
    return version


@pytest.mark.both_engines
def test_a_registered_model_votes_with_its_own_features(engine, home, tmp_path):
    old = trained_old(engine)
    run = run_of(engine, vote(), report={"without": [["z"]], "importance": True})
    version = promote_or_keep(run, train(run))
    model = Model.load(registry.fetch_model(version, tmp_path / "model"))
    alone = Model.load(own := registry.fetch_model(old, tmp_path / "old"))
    assert model.columns == ["x", "z", "c"] and [*model.spec.features][2:] == [f"old:{name}" for name in OLD]
    assert folder_digest(tmp_path / "model" / own.relative_to(tmp_path / "old") / "members" / "old") == old.tags[tags.MANIFEST]
    assert not [*tmp_path.rglob("*.pkl")]

    rows = table().combine_chunks().to_batches()[0]
    member, arrays = model.estimator.members["old"], model.spec.arrow(rows)
    answered = alone.predict(rows)["probability"].to_numpy()
    assert member.numbers(arrays, model.label).tobytes() == answered.tobytes(), "calibrated as it was registered"
    new, weights = model.estimator.members["new"].numbers(arrays, model.label), model.estimator.weights
    assert model.numbers(arrays) == pytest.approx(weights[0] * new + weights[1] * answered) and weights.min() > 0
    assert model.parity.differ == 0
    single = [predict_rows(model, rows.slice(place, 1))["probability"][0].as_py() for place in range(20)]
    assert single == predict_rows(model, rows)["probability"].to_pylist()[:20]

    logged = registry.client().get_run(version.mlflow_run_id).data
    assert logged.metrics["test_member_old_roc_auc"] > 0.6
    gain = logged.metrics["test_roc_auc"] - logged.metrics["test_member_old_roc_auc"]
    assert logged.metrics["test_member_old_roc_auc_gain"] == pytest.approx(gain) and gain > 0
    assert json.loads(logged.tags[tags.MEMBERS]) == {"old": ["old", "1", old.tags[tags.MANIFEST]]}
    assert "test_without_z_roc_auc_gain" in logged.metrics
    (section,) = (section.html for section in run.sections if section.title == "Ensemble")
    assert "<td>old</td>" in section
    score(run, version)
    scored = run.predictions.frame().to_arrow().sort_by("id")["probability"].to_pylist()
    assert scored == predict_rows(model, rows)["probability"].to_pylist()
    assert kf.load_model("models:/m@champion").predict(table())["probability"].to_pylist() == scored


def test_an_alias_that_moves_makes_another_training(embedded, home):
    trained_old(embedded)
    first = train(run_of(embedded, vote()))
    again = run_of(embedded, vote())
    assert train(again).version == first.version and again.jobs[-1].status == "done before"
    trained_old(embedded, LINEAR)
    second = train(run_of(embedded, vote()))
    assert second.version != first.version and json.loads(second.tags[tags.MEMBERS])["old"][:2] == ["old", "2"]
    inner = run_of(embedded, vote(f"models:/m/{second.version}"), name="outer")
    model = kf.load_model(f"models:/outer/{train(inner).version}").model
    assert [*model.spec.features][-1] == "old:old:rate", "a vote may vote in another one"


def test_a_version_of_another_training_is_refused_before_its_files_are_fetched(embedded, home, monkeypatch):
    old, run = trained_old(embedded), run_of(embedded, vote())
    spec, rows = fit_features(run)
    monkeypatch.setattr(registry, "fetch_model", lambda *_: pytest.fail("it was fetched"))
    others = {
        "the label of old version 1 is {\"column\":\"w\"}, and that of this conf {\"column\":\"y\",\"positive\":\"yes\"}": {tags.LABEL: '{"column":"w"}'},
        "old version 1 was trained with another split, so rows of this validation or test fold may be among": {tags.FOLDS: "0"},
        "old version 1 was trained on other views": {tags.VIEWS: "{}"},
        "old version 1 was registered by a release that did not record its label": {tags.FOLDS: None},
        "old version 1 was not trained by keyfold": {tags.MANIFEST: None},
    }  # fmt: skip
    for sentence, changed in others.items():
        named = {name: value for name, value in (old.tags | changed).items() if value is not None}
        monkeypatch.setattr(registry, "find_version", lambda _, named=named: old._replace(tags=named))
        with pytest.raises(DataError) as error:
            join_members(run, spec, rows)
        assert str(error.value).startswith("train.model.ensemble.vote.members.old: ") and sentence in str(error.value)


def test_a_model_with_another_signature_is_refused_and_nothing_is_committed(embedded, home, monkeypatch):
    old, run = trained_old(embedded), run_of(embedded, vote())
    model, load = kf.load_model("models:/old/1").model, Model.load

    def with_features(**features):
        drawn = table().append_column("q", pa.array(np.zeros(900))).set_column(1, "x", pa.array([1] * 900))
        drawn = drawn.set_column(3, "c", pa.array([1, 2, 3] * 300))
        return model._replace(spec=Spec.fit(drawn, {name: Feature.model_validate(kind) for name, kind in features.items()}))

    windowed = {"windowed": {"input_col": "x", "over": "3 rows", "take": "count", "by": ["c"], "column": "z"}}
    others = {
        'old version 1 answers {"kind":"binary","positive":"no"}, and the label of this train fold is': model._replace(
            label=Binary("string", "no", "yes")
        ),
        "takes other columns than this table has: the table has no column `q`": with_features(q={"numeric": {"input_col": "q"}}),
        "takes `y`, which is the label, the column to predict": with_features(y={"index": {"input_col": "y"}}),
        "takes other columns than this table has: column `c` is string, but the spec was fitted on bigint": with_features(
            c={"numeric": {"input_col": "c"}}
        ),
        "takes `x` as bigint, and other features as double; train it again": with_features(x={"numeric": {"input_col": "x"}}),
        "takes the window `v` (count of `x` over 3 rows), which no feature of this conf has": with_features(v=windowed),
    }
    for sentence, other in others.items():
        monkeypatch.setattr(Model, "load", lambda _, other=other: other)
        with pytest.raises(DataError) as error:
            train(run)
        assert f"train.model.ensemble.vote.members.old: old version 1 {sentence.removeprefix('old version 1 ')}" in str(
            error.value
        )
    monkeypatch.setattr(Model, "load", load)
    stored = next(path for path in home.rglob("estimator.skops"))
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(PromiseError, match="the files of old version 1 are not those that were registered"):
        train(run)
    assert registry.champion_of("m") is None and not registry.client().search_model_versions("name = 'm'")
    with pytest.raises(DataError, match="there is no model `models:/none@champion`: no version of `none` is registered"):
        train(run_of(embedded, vote("models:/none@champion")))
    clash = FEATURES | {"old:x": {"numeric": {"input_col": "x"}}}
    with pytest.raises(DataError, match=r"features.old:x: the features of the registered member `old` begin like this"):
        train(run_of(embedded, vote(), clash))
    assert old.version == "1"
