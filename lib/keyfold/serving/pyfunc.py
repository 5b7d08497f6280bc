"""A model that answers rows of pandas or Arrow by the same code as the batch job: by `keyfold.load_model`, or behind MLflow's own doors."""

import logging
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from keyfold.core.types import ARROW
from keyfold.errors import DataError, duplicates
from keyfold.models import predictor
from keyfold.models.model import Model
from keyfold.models.parity import OTHER_BITS
from keyfold.tracking import model_folder, registry

_FROM_TEXT = ("date", "timestamp", "timestamp_ntz", "decimal")


class ServedModel:
    """A loaded model; `version` says which, where it came from the registry."""

    def __init__(self, model: predictor.Predictor, version: registry.Registered | None = None) -> None:
        self.model, self.version = model, version

    @property
    def columns(self) -> list[str]:
        """The raw columns that it takes."""
        return list(self.model.columns)

    def predict(
        self, model_input: pd.DataFrame | pa.Table | pa.RecordBatch, params: dict[str, Any] | None = None
    ) -> pd.DataFrame | pa.Table:
        """`prediction` and `probability` for each raw row, as pandas or Arrow, as the rows are (DataError for a missing column or another type)."""
        if not isinstance(model_input, pd.DataFrame):
            return pa.table(self.model.predict(model_input)._asdict())
        outcome = self.model.predict(_rows(self.model, model_input))
        return pd.DataFrame({name: array.to_pandas() for name, array in outcome._asdict().items()}).set_axis(model_input.index)


def load_model(uri: str, trust: str | None = None) -> ServedModel:
    """See `keyfold.load_model`."""
    version = registry.find_version(uri)
    # A foreign model may read its files whenever it answers, so they stay as long as the model.
    folder = tempfile.TemporaryDirectory()
    model = predictor.load_predictor(registry.fetch_model(version, Path(folder.name), trust))
    if model_folder.is_from_0_1(version.tags):
        logging.getLogger("keyfold").warning("%s %s", version, model_folder.ONLY_OWN)
    if (parity := model.parity).differ:
        logging.getLogger("keyfold").warning("%s: %s (%s)", version, OTHER_BITS, parity)
    served = ServedModel(model, version)
    weakref.finalize(served, folder.cleanup)
    return served


def _rows(model: predictor.Predictor, frame: pd.DataFrame) -> pa.Table:
    if isinstance(model, Model):
        return arrow_table(frame, model.spec.inputs)
    return pa.Table.from_pandas(frame, preserve_index=False)


def arrow_table(frame: pd.DataFrame, inputs: dict[str, str]) -> pa.Table:
    """The columns of a pandas frame as Arrow; dates, times and decimals may be ISO text, as JSON brings them."""
    if twice := duplicates(name for name in frame.columns if name in inputs):
        raise DataError(f"column `{twice[0]}` stands more than once; leave one")
    return pa.table({c: _array(frame[c], family, c) for c, family in inputs.items() if c in frame.columns})


def _array(column: "pd.Series[Any]", family: str, name: str) -> pa.Array:
    try:
        array = pa.Array.from_pandas(column)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
        return array.cast(ARROW[family]) if text and family in _FROM_TEXT else array
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(f"column `{name}` cannot be read as {family}: {error}") from error


def _load_pyfunc(data_path: str) -> ServedModel:
    """MLflow's way in: checks what can be checked from here (see `keyfold.logged.check_from_inside`)."""
    model_folder.check_from_inside(Path(data_path))
    return ServedModel(Model.load(Path(data_path)))
