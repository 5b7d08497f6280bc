"""Rows of a logistic model with rare positives, and confs that balance them."""

import numpy as np
import pyarrow as pa

from keyfold.conf.use_case import parse_conf
from keyfold.features.spec import Spec
from keyfold.labels import Binary
from keyfold.training.arrays import ArrayRows

LABEL = Binary("string", "yes", "no")
LOGISTIC = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 1e6}}}


def section(rebalance=None, label="y", features=None):
    raw = {
        "name": "t",
        "data": {"key": ["id"]},
        "label": label,
        "features": features or {name: {"numeric": {"input_col": name}} for name in ("a", "b")},
        "train": {"model": LOGISTIC} | ({"rebalance": rebalance} if rebalance else {}),
    }
    return parse_conf(raw)


def drawn(n, seed=0, label=LABEL, weight=False):
    """Rows of a logistic model with two normal features and rare positives, and their true probabilities."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    p = 1 / (1 + np.exp(4.2 - 1.1 * a + 0.6 * b))
    y = rng.random(n) < p
    order = np.sort(rng.choice(2**62, n, replace=False))
    columns = {"a": a, "b": b, "keyfold_label": y if label is LABEL else (y * 2).astype(np.int64), "keyfold_order": order}
    columns |= {"keyfold_weight": rng.uniform(0.5, 2, n)} if weight else {}
    spec = Spec.fit(pa.table({"a": a, "b": b}), section().features)
    return ArrayRows(pa.table(columns), spec, label), p
