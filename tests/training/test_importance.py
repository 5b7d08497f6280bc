"""Importance by permutation: scikit-learn's values, 0 for what a model ignores, and the same bits for any order of the rows."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
import sklearn.inspection._permutation_importance as peer
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.inspection import permutation_importance

from keyfold.conf.importance import Importance
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import LABEL, ORDER, PERIOD
from keyfold.errors import DataError
from keyfold.evaluation.metric_loss import MetricLoss
from keyfold.evaluation.metrics import metric_differences
from keyfold.features.spec import Spec
from keyfold.labels import Binary, Number
from keyfold.models.member_fits import run_in_turn
from keyfold.models.model import Model
from keyfold.models.section import ModelConf
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training import importance
from keyfold.training.arrays import ArrayRows
from keyfold.training.importance import measure_importance, permutation, permuted_features
from keyfold.training.job import train

N, NAMES = 400, ("a", "b", "c", "d")
LOGISTIC = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
BOOSTED = {"sklearn": {"estimator": "sklearn.ensemble.HistGradientBoostingRegressor", "params": {"max_iter": 20}}}
STUMP = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}}}


YES = Binary("string", "yes", "no")


def modelled(model=LOGISTIC, label=YES, n=N):
    """A model of four normal features, of which the last has no effect, and the rows that it is fitted and measured on."""
    rng = np.random.default_rng(0)
    columns = dict(zip(NAMES, rng.standard_normal((4, n)), strict=True))
    y = 2 * columns["a"] + columns["b"] - 0.5 * columns["c"] + rng.normal(size=n)
    features = {name: {"numeric": {"input_col": name}} for name in NAMES}
    spec = Spec.fit(
        pa.table(columns), parse_conf({"name": "t", "data": {"key": ["id"]}, "label": "y", "features": features}).features
    )
    order = np.sort(rng.choice(2**62, n, replace=False))
    truth = y if isinstance(label, Number) else y > 0
    rows = ArrayRows(pa.table({**spec.arrow(pa.table(columns)), LABEL: truth, ORDER: order}), spec, label)
    return Model(spec, ModelConf.model_validate(model).fit(spec, rows.examples, 0, run_in_turn), label, None), rows


class Permutations(np.random.RandomState):
    """Gives scikit-learn the permutations of keyfold: it shuffles places for each repeat, and the column that it has shuffled before."""

    def __init__(self, order):
        super().__init__(0)
        self.order, self.repeat, self.before = order, 0, np.arange(len(order))

    def shuffle(self, places):
        after = permutation(self.order, self.repeat)
        places[:] = np.argsort(self.before)[after]
        self.before, self.repeat = after, self.repeat + 1


# --- scikit-learn ---


@pytest.mark.parametrize(
    ("model", "label", "metric", "scoring"),
    [
        (LOGISTIC, YES, "roc_auc", "roc_auc"),
        (LOGISTIC, YES, "log_loss", "neg_log_loss"),
        (BOOSTED, Number("double"), "r2", "r2"),
        (BOOSTED, Number("double"), "rmse", "neg_root_mean_squared_error"),
    ],
)
def test_it_is_that_of_scikit_learn(monkeypatch, model, label, metric, scoring):
    fitted, rows = modelled(model, label)
    points = np.column_stack([rows.arrays[name] for name in NAMES])
    ours = measure_importance(Importance(metric=metric, repeats=4), fitted, rows)
    given = (fitted.estimator.estimator, points, rows.truth)
    noisy = permutation_importance(*given, scoring=scoring, n_repeats=30, random_state=1)
    for i, name in enumerate(NAMES):
        assert abs(ours.losses[name].value - noisy.importances_mean[i]) <= 4 * noisy.importances_std[i] / 4**0.5 + 1e-9
    monkeypatch.setattr(peer, "check_random_state", lambda seed: Permutations(rows.order))
    same = permutation_importance(*given, scoring=scoring, n_repeats=4)
    assert [ours.losses[name].value for name in NAMES] == pytest.approx(same.importances_mean.tolist(), rel=1e-9, abs=1e-12)
    assert [*ours.losses][:2] == ["a", "b"] and ours.rows == N


# --- laws ---


def test_a_feature_that_the_model_ignores_has_no_importance_at_all():
    model, rows = modelled(STUMP)
    (used,) = {NAMES[place] for place in model.estimator.estimator.tree_.feature if place >= 0}
    losses = measure_importance(Importance(), model, rows).losses
    assert losses[used].low > 0
    assert {losses[name] for name in NAMES if name != used} == {(0, 0, 0)}


@pytest.mark.parametrize("keys", [N, 50])
def test_it_depends_neither_on_the_order_of_the_rows_nor_on_processes(monkeypatch, keys):
    model, rows = modelled()
    repeated = np.sort(rows.order[np.arange(N) % keys])  # rows of one key have one hash
    rows = rows._replace(table=rows.table.set_column(rows.table.schema.get_field_index(ORDER), ORDER, pa.array(repeated)))
    of = measure_importance(Importance(repeats=2), model, rows)
    shuffled = rows._replace(table=rows.table.take(pa.array(np.random.default_rng(1).permutation(N))))
    assert measure_importance(Importance(repeats=2), model, shuffled) == of
    monkeypatch.setattr(importance, "LONG", 0)
    assert measure_importance(Importance(repeats=2), model, rows, in_other_processes) == of


def in_other_processes(function, shared, tasks):
    """Runs tasks as processes would: with copies of what they get."""
    return run_in_turn(*pickle.loads(pickle.dumps((function, shared, tasks))))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["roc_auc", "log_loss", "f1", "calibration_error"]))
def test_a_loss_is_the_difference_of_both_metrics_with_its_interval(seed, metric):
    rng = np.random.default_rng(seed)
    label, y = Binary("boolean", True, False), rng.random(60) < 0.5
    before, after = rng.random((2, 60)).round(1)
    loss = MetricLoss(label, y, before, metric)
    assert loss.of([before, before]) in ((0, 0, 0), (0, *[pytest.approx(np.nan, nan_ok=True)] * 2))
    first, second = (metric_differences(label, y, *pair, replicates=100)[metric] for pair in ((before, after), (after, before)))
    assert loss.of([after]) == pytest.approx(second if metric in ("log_loss", "calibration_error") else first, nan_ok=True)


# --- features that take others ---

FEATURES = {
    "x": {"bucketized": {"input_col": "x", "boundaries": [3, 5]}},
    "c": {"one_hot": {"input_col": "c"}},
    "x_c": {"crossed": {"input_cols": [{"feature": "x"}, {"feature": "c"}], "num_buckets": "exact"}},
    "again": {"hashed": {"input_col": {"feature": "x_c"}, "num_buckets": 50}},
    "x_raw": {"crossed": {"input_cols": [{"feature": "x"}, "c"], "num_buckets": 40}},
    "words": {"text": {"input_col": "t", "max_tokens": 9}},
}


# By permuted feature: the features that are as if its column were permuted alone, and those that are taken from the other rows.
FOLLOWING = {
    "x": (["x", "x_c", "again"], ["x_raw"]), "c": (["c", "x_c", "again"], []), "x_c": ([], ["x_c", "again"]),
    "again": ([], ["again"]), "x_raw": ([], ["x_raw"]), "words": ([], ["words"]),
}  # fmt: skip


@settings(max_examples=40)
@given(st.permutations(range(30)), st.sampled_from([*FOLLOWING]))
def test_features_that_take_a_permuted_one_follow_it(places, name):
    ids, places = range(30), pa.array(places)
    table = pa.table({"x": [float(i % 7) for i in ids], "c": [f"c{i % 4}" for i in ids], "t": ["a b"[: i % 4] for i in ids]})
    spec = Spec.fit(table, parse_conf({"name": "t", "data": {"key": ["id"]}, "label": "y", "features": FEATURES}).features)
    alone = (
        table.set_column(0, "x", table["x"].take(places)) if name == "x" else table.set_column(1, "c", table["c"].take(places))
    )
    before, of_column, of_rows = spec.arrow(table), spec.arrow(alone), spec.arrow(table.take(places))
    after, (follow, taken) = permuted_features(spec, before, name, places.to_numpy()), FOLLOWING[name]
    assert [*after] == [*before]
    for other, array in after.items():
        expected = of_column if other in follow else of_rows if other in taken else before
        assert pa.array(array).equals(pa.array(expected[other])), other


# --- the job ---

LABELS = {
    "binary": {"column": "left", "positive": "yes"}, "number": "price", "classes": "kind", "labels": "topics",
    "bands": {"column": "price", "bands": {"quantiles": 3}},
}  # fmt: skip
MAIN = {"binary": "roc_auc", "number": "r2", "classes": "macro_f1", "labels": "micro_f1", "bands": "r2"}
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
STACK = {"ensemble": {"stack": {"members": {"one": LOGISTIC, "other": STUMP}, "meta": LOGISTIC}}}


def run_of(engine, kind, model=None, name="t", **report):
    """A run over rows whose label depends on x alone."""
    draw, ids = np.random.default_rng(0), range(600)
    x, z = draw.random((2, 600))
    near = x + draw.normal(0, 0.1, 600)
    columns = {
        "left": np.where(near > 0.5, "yes", "no"),
        "price": near,
        "kind": np.array(["p", "q", "r"])[(near * 3).astype(int).clip(0, 2)],
    }
    table = pa.table(
        {
            "id": ids,
            "x": x,
            "z": z,
            **columns,
            "topics": [["p"][: int(v > 0.5)] + ["q"][: int(v < 0.3)] for v in near],
            PERIOD: ["all"] * 600,
        }
    )
    conf = {
        "name": name, "data": {"key": ["id"]}, "label": LABELS[kind], "split": {"allow": ["x"], "salt": "t"}, "report": {"importance": True} | report,
        "features": {name: {"numeric": {"input_col": name}} for name in "xz"}, "train": {"model": model or (RIDGE if kind == "number" else LOGISTIC)},
    }  # fmt: skip
    run = Run(parse_conf(conf), engine)
    run.rows.replace(engine.frame(table), PERIOD, {"all": 600})
    return run


@pytest.mark.parametrize(("kind", "model"), [*((kind, None) for kind in LABELS), ("binary", STACK)])
def test_each_kind_of_label_and_model_has_it_on_the_page_and_in_mlflow(embedded, home, kind, model):
    run = run_of(embedded, kind, model)
    metrics = registry.client().get_run(train(run).mlflow_run_id).data.metrics
    x, z = (metrics[f"test_importance_{name}_{MAIN[kind]}"] for name in "xz")
    assert metrics[f"test_importance_x_{MAIN[kind]}_low"] > 0.1 > abs(z) and x > 0.2
    (section,) = (section.html for section in run.sections if section.title == "Importance of features")
    assert section.index("<td>x</td>") < section.index("<td>z</td>") and "no loss" in section and "(5 times; the mean)" in section


def test_both_engines_measure_the_same(spark_engine, embedded, home):
    found = []
    for engine in (spark_engine, embedded):
        run = run_of(engine, "binary", name=engine.name, importance={"metric": "log_loss", "repeats": 2})
        metrics = registry.client().get_run(train(run).mlflow_run_id).data.metrics
        found.append({name: value for name, value in metrics.items() if "importance" in name})
    assert found[0] == found[1] and len(found[0]) == 6


def test_many_features_and_rows_are_bounded(embedded, home):
    run = run_of(embedded, "binary", importance={"most": 1, "repeats": 1, "rows": 40})
    metrics = registry.client().get_run(train(run).mlflow_run_id).data.metrics
    assert {name for name in metrics if "importance" in name} == {
        f"test_importance_x_roc_auc{part}" for part in ("", "_low", "_high")
    }
    (section,) = (section.html for section in run.sections if section.title == "Importance of features")
    assert "The 1 most important of 2 features" in section and "on 40 rows" in section and "(once)" in section


def test_without_a_test_fold_nothing_is_said(embedded, home):
    run = run_of(embedded, "binary")
    conf = run.conf.model_dump(mode="json", exclude_defaults=True) | {
        "split": {"share": {"train": 1, "validation": 0, "test": 0}, "allow": ["x"]}
    }
    alone = Run(parse_conf(conf), embedded)
    train(alone)
    assert "Importance of features" not in {section.title for section in alone.sections}


def test_a_metric_that_the_label_turns_out_not_to_have_is_refused_before_training(embedded, home):
    with pytest.raises(DataError, match=r"report\.importance\.metric: this label has no roc_auc; choose one of macro_f1, "):
        train(run_of(embedded, "classes", importance={"metric": "roc_auc"}))
