"""A registered model in Python: it predicts rows of pandas or Arrow with the code of the batch job, also as an MLflow pyfunc."""

import logging
import tempfile
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from keyfold.core.arrays import single_chunk
from keyfold.core.types import ARROW
from keyfold.errors import DataError, duplicates
from keyfold.models import predictor
from keyfold.models.model import Model
from keyfold.models.parity import OTHER_BITS
from keyfold.tracking import model_folder, registry

_FROM_TEXT = ("date", "timestamp", "timestamp_ntz", "decimal")


class ServedModel:
    """A loaded model. `version` is the registered version, None if MLflow loaded the model."""

    def __init__(self, model: predictor.Predictor, version: registry.Registered | None = None) -> None:
        self.model, self.version = model, version

    @property
    def columns(self) -> list[str]:
        """The raw columns that `predict` needs."""
        return list(self.model.columns)

    def predict(
        self, model_input: pd.DataFrame | pa.Table | pa.RecordBatch, params: dict[str, Any] | None = None, *, reasons: int = 0
    ) -> pd.DataFrame | pa.Table:
        """Returns `prediction` and `probability` (double, NULL for a regression) for each row, in order, as pandas or Arrow like the input.

        model_input: n rows of raw columns; other columns are ignored. Dates, times and decimals in pandas may be ISO text.
        params: ignored; MLflow passes it.
        reasons: the number of features that moved an answer most; above 0 there is a column `reasons`, a list of structs with `feature` and
            `contribution`. DataError unless the conf of the training had `score.reasons`.
        Raises DataError for a missing column or one of another type.
        """
        model = self.model.with_reasons(reasons)
        if not isinstance(model_input, pd.DataFrame):
            return pa.table(model.predict(model_input))
        answer = model.predict(_rows(model, model_input))
        columns = {name: array.to_pandas(integer_object_nulls=True, maps_as_pydicts="strict") for name, array in answer.items()}
        return pd.DataFrame(columns).set_axis(model_input.index)


def load_model(uri: str, trust: str | None = None) -> ServedModel:
    """Loads a registered model after comparing all its files with those that were registered; none of its code runs before that.

    uri: models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID, in the MLflow of MLFLOW_TRACKING_URI, or else of keyfold's home.
    trust: the digest of a model that keyfold did not train; loading it runs its code.
    Raises DataError if there is no such model, PromiseError if a file was changed, added or removed.
    """
    version = registry.find_version(uri)
    # A model that keyfold did not train may read its files at any prediction, so they stay as long as the model does.
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        model = predictor.load_predictor(registry.fetch_model(version, Path(folder), trust))
        if model_folder.is_from_0_1(version.tags):
            logging.getLogger("keyfold").warning("%s %s", version, model_folder.ONLY_OWN)
        if (parity := model.parity).differ:
            logging.getLogger("keyfold").warning("%s: %s (%s)", version, OTHER_BITS, parity)
        served = ServedModel(model, version)
        weakref.finalize(served, stack.pop_all().close)
    return served


def _rows(model: predictor.Predictor, frame: pd.DataFrame) -> pa.Table:
    if isinstance(model, Model):
        return arrow_table(frame, model.spec.inputs)
    return pa.Table.from_pandas(frame, preserve_index=False)


def arrow_table(frame: pd.DataFrame, inputs: dict[str, str]) -> pa.Table:
    """The columns `inputs` (name: family of its type) of a pandas frame as Arrow; dates, times and decimals may be ISO text, as in JSON."""
    if repeated := duplicates(name for name in frame.columns if name in inputs):
        raise DataError(f"column `{repeated[0]}` occurs more than once; keep one")
    return pa.table({c: _array(frame[c], family, c) for c, family in inputs.items() if c in frame.columns})


def _array(column: "pd.Series[Any]", family: str, name: str) -> pa.Array:
    try:
        array = single_chunk(pa.Array.from_pandas(column))
        text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
        return array.cast(ARROW[family]) if text and family in _FROM_TEXT else array
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(f"column `{name}` cannot be read as {family}: {error}") from error


def _load_pyfunc(data_path: str) -> ServedModel:
    """Loads a model for MLflow, after the checks that are possible from there (see `model_folder.check_from_inside`)."""
    model_folder.check_from_inside(Path(data_path))
    return ServedModel(Model.load(Path(data_path)))
