"""Exact crosses."""

import pytest

from every_kind import fitted
from keyfold.errors import ConfError


def test_each_combination_of_an_exact_cross_has_its_own_index():
    rows = [(a, b) for a in [None, "x", "y"] for b in [None, "p", "q", "r"]]
    features = {c: {"index": {"input_col": c}} for c in "ab"}
    cross = {"crossed": {"input_cols": [{"feature": "a"}, {"feature": "b"}], "num_buckets": "exact"}}
    spec, result = fitted(rows, "a string, b string", **features, ab=cross)
    assert len(set(result["ab"].tolist())) == len(rows)
    assert result["ab"][0] == 0
    assert spec.outs["ab"].width == 4 * 5
    with pytest.raises(ConfError, match=r"an exact cross takes features.*`a` is a column"):
        fitted(rows, "a string, b string", ab={"crossed": {"input_cols": ["a", "b"], "num_buckets": "exact"}})
