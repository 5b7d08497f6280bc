"""A model that keyfold did not train: any MLflow pyfunc, whose digest the conf must trust. It has no spec and no certificate."""

from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from keyfold.core.digests import folder_digest
from keyfold.core.types import ARROW
from keyfold.engine.frame import Frame
from keyfold.errors import DataError, suggestion
from keyfold.labels import Answer
from keyfold.models.parity import Parity

if TYPE_CHECKING:
    from mlflow.models import Model as MLmodel

_FAMILIES = {  # of types of MLflow's columns, and of NumPy's arrays
    "integer": "bigint", "long": "bigint", "string": "string", "boolean": "boolean", "int": "bigint", "bool": "boolean",
    "object": "string",
}  # fmt: skip
ROWS_AT_ONCE = 20_000
_predicting = Lock()  # threads of a worker take turns: the code of such a model may not be meant for several


class PyfuncModel:
    """An MLflow pyfunc, applied to the columns that its signature names."""

    rows_at_once, parity, label = ROWS_AT_ONCE, Parity(0), None

    def __init__(self, folder: Path) -> None:
        self.folder, self.digest = folder, folder_digest(folder)
        self.columns = [str(name) for name in self._signature.inputs.input_names()]

    @cached_property
    def _metadata(self) -> "MLmodel":
        from mlflow.models import Model

        return Model.load(str(self.folder))

    @cached_property
    def _signature(self) -> Any:
        signature = self._metadata.signature
        if signature is None or signature.inputs is None or not signature.inputs.has_input_names():
            raise DataError("the model has no signature that names its columns; log it with `signature` or `input_example`")
        return signature

    @cached_property
    def answer_types(self) -> dict[str, pa.DataType]:
        """Arrow types of the columns of an answer, by the signature; a prediction is a double if it does not name one."""
        return {"prediction": self._prediction_type, "probability": pa.float64()}

    @cached_property
    def _prediction_type(self) -> pa.DataType:
        outputs = self._signature.outputs
        if outputs is None:
            return ARROW["double"]
        tensor = outputs.is_tensor_spec()
        name = outputs.inputs[0].type.name.rstrip("0123456789") if tensor else outputs.input_types()[0].name
        return ARROW[_FAMILIES.get(name, "double")]

    @cached_property
    def _model(self) -> Any:
        import mlflow

        return mlflow.pyfunc.load_model(str(self.folder))

    def loaded(self) -> "PyfuncModel":
        """Loads the model, which runs its code, so the conf must trust it."""
        self._model  # noqa: B018
        return self

    def with_reasons(self, most: int) -> "PyfuncModel":
        """The model itself; raises DataError if reasons are asked for."""
        if most:
            raise DataError("score.reasons: keyfold did not train this model and cannot explain its answers; leave it out")
        return self

    def check_columns(self, rows: Frame) -> None:
        """Raises DataError if a column is missing."""
        for name in self.columns:
            if name not in rows.columns:
                raise DataError(f"the table has no column `{name}`, which the model takes{suggestion(name, rows.columns)}")

    def predict(self, rows: pa.RecordBatch) -> Answer:
        """The column `prediction` of the model's output, or its first column, and the column `probability` if there is one."""
        with _predicting:
            output, probability = self._model.predict(rows.select(self.columns).to_pandas()), None
        if hasattr(output, "columns"):
            probability = output["probability"] if "probability" in output.columns else None
            output = output["prediction"] if "prediction" in output.columns else output.iloc[:, 0]
        values = np.asarray(output)
        values = values[:, 0] if values.ndim == 2 else values
        if len(values) != rows.num_rows:
            raise ValueError(f"the model returned {len(values)} values for {rows.num_rows} rows")
        not_finite = ~np.isfinite(values) if values.dtype.kind == "f" else None
        predictions = pa.array(values, mask=not_finite, from_pandas=True).cast(self._prediction_type)
        number = pa.nulls(rows.num_rows, pa.float64()) if probability is None else pa.array(np.asarray(probability, np.float64))
        return {"prediction": predictions, "probability": number}
