"""A model that keyfold did not train: any MLflow pyfunc, run only where the conf trusts its digest. It has no spec and no certificate."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from keyfold.core.digests import folder_digest
from keyfold.core.types import ARROW
from keyfold.errors import DataError, suggestion
from keyfold.models.model import Prediction
from keyfold.models.parity import Parity

if TYPE_CHECKING:
    from mlflow.models import Model as MLmodel
    from pyspark.sql import DataFrame

_FAMILIES = {"integer": "bigint", "long": "bigint", "string": "string", "boolean": "boolean"}
AT_ONCE = 20_000


class PyfuncModel:
    """Answers rows by the columns that its signature names."""

    scores_classes, at_once, parity = False, AT_ONCE, Parity(0)

    def __init__(self, folder: Path) -> None:
        self.folder, self.digest = folder, folder_digest(folder)
        self.columns = [str(name) for name in self._signature.inputs.input_names()]

    @cached_property
    def _described(self) -> "MLmodel":
        from mlflow.models import Model

        return Model.load(str(self.folder))

    @cached_property
    def _signature(self) -> Any:
        signature = self._described.signature
        if signature is None or signature.inputs is None or not signature.inputs.has_input_names():
            raise DataError("the model has no signature that names its columns; log it with `signature` or `input_example`")
        return signature

    @cached_property
    def prediction_type(self) -> pa.DataType:
        """As the signature says; else a double."""
        outputs = self._signature.outputs
        name = "double" if outputs is None or outputs.is_tensor_spec() else outputs.input_types()[0].name
        name = (
            str(outputs.inputs[0].type).removeprefix("dtype('").rstrip("0123456789')")
            if outputs and outputs.is_tensor_spec()
            else name
        )
        return ARROW[_FAMILIES.get(name, {"int": "bigint", "bool": "boolean", "object": "string"}.get(name, "double"))]

    @cached_property
    def _model(self) -> Any:
        import mlflow

        return mlflow.pyfunc.load_model(str(self.folder))

    def ready(self) -> "PyfuncModel":
        """With its code loaded and run, which is what trust is for."""
        self._model  # noqa: B018
        return self

    def refuse_other_columns(self, rows: "DataFrame") -> None:
        """DataError where a column is missing."""
        for name in self.columns:
            if name not in rows.columns:
                raise DataError(f"the table has no column `{name}`, which the model takes{suggestion(name, rows.columns)}")

    def predict(self, rows: pa.RecordBatch) -> Prediction:
        """The first value that it gives for each row, and its column `probability` where it has one."""
        given = self._model.predict(rows.select(self.columns).to_pandas())
        probability = given["probability"] if hasattr(given, "columns") and "probability" in given.columns else None
        if hasattr(given, "columns"):
            given = given["prediction"] if "prediction" in given.columns else given.iloc[:, 0]
        values = np.asarray(given)
        values = values[:, 0] if values.ndim == 2 else values
        if len(values) != rows.num_rows:
            raise ValueError(f"the model gave {len(values)} values for {rows.num_rows} rows")
        odd = ~np.isfinite(values) if values.dtype.kind == "f" else None
        found = pa.array(values, mask=odd, from_pandas=True).cast(self.prediction_type)
        chance = pa.nulls(rows.num_rows, pa.float64()) if probability is None else pa.array(np.asarray(probability, np.float64))
        return Prediction(found, chance)
