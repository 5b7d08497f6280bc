"""The model behind MLflow's own doors: takes raw rows as pandas, runs the same code as the batch job."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from keyfold.errors import DataError
from keyfold.models import Model
from keyfold.values import ARROW

_FROM_TEXT = ("date", "timestamp", "timestamp_ntz", "decimal")


class Served:
    """What `mlflow.pyfunc.load_model` gives, behind its `predict`."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """`prediction` and `probability` for each raw row (DataError for a missing column or another type)."""
        outcome = self.model.predict(table(model_input, self.model.spec.inputs))
        columns = {"prediction": outcome.prediction, "probability": outcome.probability}
        return pd.DataFrame({name: array.to_pandas() for name, array in columns.items()}).set_axis(model_input.index)


def table(frame: pd.DataFrame, inputs: dict[str, str]) -> pa.Table:
    """The columns of a pandas frame as Arrow; dates, times and decimals may be ISO text, as JSON brings them."""
    return pa.table({c: _array(frame[c], family, c) for c, family in inputs.items() if c in frame.columns})


def _array(column: "pd.Series[Any]", family: str, name: str) -> pa.Array:
    try:
        array = pa.Array.from_pandas(column)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
        return array.cast(ARROW[family]) if text and family in _FROM_TEXT else array
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"column `{name}` cannot be read as {family}: {error}") from error


def _load_pyfunc(data_path: str) -> Served:
    """MLflow's way in."""
    return Served(Model.load(Path(data_path)))
