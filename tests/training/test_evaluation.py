"""The evaluation of a model: which rows measure it, and the sections of the page."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import FOLD, LABEL, NUMBER, ORDER
from keyfold.features.matrix import sparse_matrix
from keyfold.training.arrays import EXTRA, ArrayRows
from keyfold.training.evaluation import evaluate_model
from shop_model import shop_model

N, FOLDS = 240, np.array(["train", "validation", "test"])


@pytest.fixture(scope="module")
def model():
    return shop_model()


@pytest.fixture(scope="module")
def rows(model):
    """Rows with their fold and, outside test, the part of cross-validation."""
    draw = np.random.default_rng(1)
    city, plan = draw.choice(["a", "b", "c"], N), draw.integers(0, 40, N)
    fold = FOLDS[draw.choice(3, N, p=[0.6, 0.2, 0.2])]
    part = draw.integers(0, 3, N).astype(np.int32)
    features = model.spec.arrow(pa.table({"city": city, "plan": plan}))
    own = {
        FOLD: fold, LABEL: (city == "a") ^ (draw.random(N) < 0.3), ORDER: np.arange(N),
        EXTRA + "city": city, EXTRA + NUMBER: pa.array(part, mask=fold == "test"),
    }  # fmt: skip
    return ArrayRows(pa.table({**features, **own}), model.spec, model.label)


def evaluate(model, rows, split=None, report=None):
    """The metrics, and the titles of the page's sections."""
    trained = {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}, "seed": 3}
    raw = {"name": "shop", "label": "y", "data": {"key": ["id"]}, "train": trained, "split": split or {}, "report": report or {}}
    features = {name: {"hashed": {"input_col": name, "num_buckets": n}} for name, n in (("city", 16), ("plan", 8))}
    conf = parse_conf(raw | {"features": features})

    @contextmanager
    def step(name):
        yield SimpleNamespace(rows=None)

    context = SimpleNamespace(
        run=SimpleNamespace(conf=conf, step=step, engine=None), job=SimpleNamespace(sections=[]),
        rows=SimpleNamespace(label=model.label), label=conf.label,
    )  # fmt: skip
    return evaluate_model(context, conf.train, model, rows), [section.title for section in context.job.sections]


def test_each_fold_measures_the_model_on_its_own_rows(model, rows):
    measured, titles = evaluate(model, rows, report={"slices": ["city"]})
    assert (
        {*measured} == {"validation", "test", "test_naive"}
        and titles[0] == "Metrics"
        and any("city" in title for title in titles)
    )
    for fold in ("validation", "test"):
        part = rows.fold(fold)
        assert measured[fold]["roc_auc"].value == pytest.approx(roc_auc_score(part.y, model.numbers(part.arrays)))


def test_cross_validation_is_that_of_scikit_learn_over_the_rows_outside_test(model, rows):
    measured, _ = evaluate(model, rows, split={"folds": 3})
    inside = rows.outside_test
    x, part = sparse_matrix(inside.arrays, model.spec.outs), inside.table[EXTRA + NUMBER].to_numpy()
    p = cross_val_predict(LogisticRegression(), x, inside.y, cv=PredefinedSplit(part), method="predict_proba")[:, 1]
    assert measured["cross_validated"]["roc_auc"].value == pytest.approx(roc_auc_score(inside.y, p))


def test_a_model_without_some_features_is_measured_on_the_same_rows(model, rows):
    measured, titles = evaluate(model, rows, report={"without": [["city"]]})
    without = next(fold for fold in measured if fold not in (*FOLDS, "test_naive"))
    assert "city" in without and "Gain of features" in titles
    values = {name: metric.value for name, metric in measured[without].items()}
    assert values["roc_auc"] < measured["test"]["roc_auc"].value
    assert values["roc_auc_gain"] == pytest.approx(measured["test"]["roc_auc"].value - values["roc_auc"])


def test_without_rows_of_a_fold_nothing_is_measured_there(model, rows):
    train = rows.fold("train")
    assert evaluate(model, train, report={"without": [["city"]]}) == ({}, [])
