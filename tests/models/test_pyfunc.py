"""Models that keyfold did not train: their columns, types and outputs."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import ColSpec, Schema

from keyfold.errors import DataError
from keyfold.models.pyfunc import PyfuncModel

ROWS = pa.record_batch({"b": [1, 2, 3], "a": ["x", "y", "z"]})
INPUTS = Schema([ColSpec("string", "a"), ColSpec("long", "b")])


def model(tmp_path, predict=None, signature=ModelSignature(INPUTS)):  # noqa: B008
    """A model of this signature whose code is `predict`."""
    made = PyfuncModel.__new__(PyfuncModel)
    made.__dict__ |= {"_metadata": SimpleNamespace(signature=signature), "_model": SimpleNamespace(predict=predict)}
    made.__init__(tmp_path)
    return made


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        (lambda frame: frame["b"] * 0.5, [0.5, 1.0, 1.5]),
        (lambda frame: frame[["b"]], [1.0, 2.0, 3.0]),
        (lambda frame: np.column_stack([frame["b"], frame["b"] * 9]), [1.0, 2.0, 3.0]),
        (lambda frame: np.array([np.nan, np.inf, 2.0]), [None, None, 2.0]),
        (lambda frame: pd.DataFrame({"other": 0, "prediction": frame["b"]}), [1.0, 2.0, 3.0]),
    ],
)
def test_predictions_of_each_form_are_doubles_and_numbers_that_are_not_finite_are_null(tmp_path, output, wanted):
    values, probabilities = model(tmp_path, output).predict(ROWS).values()
    assert values.type == pa.float64() and values.to_pylist() == wanted
    assert probabilities.null_count == 3


def test_a_model_gets_its_columns_in_order_and_may_return_probabilities(tmp_path):
    def predict(frame):
        assert list(frame.columns) == ["a", "b"]
        return pd.DataFrame({"prediction": frame["a"], "probability": [0.1, 0.2, 0.3]})

    signature = infer_signature(pd.DataFrame({"a": ["x"], "b": [1]}), pd.Series(["x"], name="prediction"))
    values, probabilities = model(tmp_path, predict, signature).predict(ROWS).values()
    assert (values.to_pylist(), probabilities.to_pylist()) == (["x", "y", "z"], [0.1, 0.2, 0.3])


def test_faults_of_a_model_are_sentences(tmp_path):
    with pytest.raises(DataError, match="the model has no signature that names its columns"):
        model(tmp_path, signature=None)
    with pytest.raises(ValueError, match="the model returned 1 values for 3 rows"):
        model(tmp_path, lambda frame: [1.0]).predict(ROWS)
    with pytest.raises(DataError, match=r"has no column `b`, which the model takes"):
        model(tmp_path).check_columns(SimpleNamespace(columns=["a", "c"]))
