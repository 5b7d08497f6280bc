"""A small conf for tests, and the faults of a conf."""

from functools import reduce

import pytest

from keyfold.conf import use_case
from keyfold.errors import ConfError


def raw(path="", value=None):
    """A small conf, with one value set at a path."""
    conf = {
        "name": "churn",
        "label": {"column": "left"},
        "data": {"source": "customers.csv", "key": ["id"]},
        "features": {"city": {"hashed": {"input_col": "city", "num_buckets": 16}}},
        "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
    }
    if path:
        *parents, last = path.split(".")
        reduce(lambda at, part: at.setdefault(part, {}), parents, conf)[last] = value
    return conf


def faults(conf):
    """The sentences of the ConfError for a conf."""
    with pytest.raises(ConfError) as caught:
        use_case.parse_conf(conf, "mine.yaml")
    assert caught.value.exit_code == 2
    first, *lines = str(caught.value).split("\n")
    assert first == f"mine.yaml has {'a fault' if len(lines) == 1 else f'{len(lines)} faults'}:"
    return [line.strip() for line in lines]
