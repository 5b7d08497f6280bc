"""Features as sparse and dense matrices and as tensors."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from every_kind import fitted
from keyfold.features import matrix
from keyfold.features.kind import FeatureOutput


def test_a_sparse_matrix_counts_and_a_dense_one_has_columns():
    features = {
        "x": {"numeric": {"input_col": "x"}},
        "t": {"text": {"input_col": "t", "max_tokens": 5}},
        "d": {"date_parts": {"input_col": "d", "parts": ["day_of_month", "month"]}},
        "i": {"one_hot": {"input_col": "t"}},
    }
    rows = [(0.5, "b a a", dt.date(2026, 3, 9)), (2.0, None, None)]
    spec, result = fitted(rows, "x double, t string, d date", **features)
    assert matrix.sparse_matrix(result, spec.outs).toarray().tolist() == [
        [0.5, 0, 0, 2, 1, 9, 3, 0, 0, 1],
        [2.0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    ]
    without = {name: out for name, out in spec.outs.items() if name != "t"}
    assert matrix.dense_matrix(result, without).tolist() == [[0.5, 9, 3, 2], [2.0, 0, 0, 0]]
    assert matrix.categorical_columns(without) == [False, False, False, True]


def test_tensors_have_the_features_by_name():
    torch = pytest.importorskip("torch")
    arrays = {"i": np.array([3, 0], np.int32), "x": np.array([0.5, 2.0]), "v": np.ones((2, 3), np.float32)}
    bag = pa.array([[2, 1, 1], []], pa.list_(pa.int32()))
    outs = {
        "i": FeatureOutput("int", 9),
        "x": FeatureOutput("double"),
        "v": FeatureOutput("float", 1, 3),
        "bag": FeatureOutput("int", 5, None),
    }
    result = matrix.tensors(arrays | {"bag": bag}, outs)
    assert {name: tensor.dtype for name, tensor in result.items()} == {
        "i": torch.int32, "x": torch.float32, "v": torch.float32, "bag": torch.int32
    }  # fmt: skip
    assert (result["i"].tolist(), result["x"].tolist(), tuple(result["v"].shape)) == ([3, 0], [0.5, 2.0], (2, 3))
    assert [row.tolist() for row in result["bag"].unbind()] == [[2, 1, 1], []]
