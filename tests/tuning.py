"""Confs with a search for parameters, and a search without Spark."""

import numpy as np

from keyfold.conf.use_case import parse_conf
from keyfold.training.search import search_parameters

GRID = {
    "search": "grid",
    "over": {"params.C": [0.01, 0.1, 1, 10], "params.tol": [1e-4, 1e-2]},
    "metric": "roc_auc",
    "parallel": 2,
}
TPE = {"search": "tpe", "over": {"params.C": {"low": 0.01, "high": 10, "log": True}, "params.class_weight": [None, {"a": 1}]}}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}, "loop": {"batch_size": 240, "epochs": 8}}}
FEATURES = {"x": {"numeric": {"input_col": "x"}}, "c": {"one_hot": {"input_col": "c"}}}


def raw_conf(tune=None, *, model=None, train=None, **more):
    model = model or {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"solver": "newton-cg"}}}
    section = {"model": model, "seed": 7} | ({"tune": tune} if tune else {}) | (train or {})
    conf = {"name": "t", "label": {"column": "y", "positive": True}, "data": {"key": ["id"]}, "train": section}
    return conf | {"split": {"share": {"train": 0.6, "validation": 0.2, "test": 0.2}}, "features": FEATURES} | more


def search(tune, score, run_id="s", model=None):
    """The messages and the result of a search whose trials are scored by a function."""
    messages = []
    train = parse_conf(raw_conf(tune, model=model)).train
    return messages, search_parameters(train, run_id, score, messages.append)


def formula(models, observe=None):
    """A score that depends on two parameters."""
    return [abs(np.log10(m.sklearn.params["C"])) + (m.sklearn.params["class_weight"] is None) for m in models]
