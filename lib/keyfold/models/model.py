"""What can be trained, and a trained model as one folder: spec and label in JSON, skops or safetensors, nothing pickled."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import model_validator

from keyfold.core.digests import folder_digest
from keyfold.core.section import Section
from keyfold.core.types import ARROW
from keyfold.errors import DataError
from keyfold.features.certificate import Certificate
from keyfold.features.kind import rows_at_once
from keyfold.features.spec import Spec
from keyfold.models.label import Label
from keyfold.models.parity import Parity, exact_predictions, measure_parity
from keyfold.models.sklearn import Estimator, Sklearn
from keyfold.models.torch import Network, Torch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

THRESHOLD = 0.5


class ModelConf(Section):
    """Which model: {sklearn: {estimator: …, params: …}} or {torch: {network: …}}."""

    sklearn: Sklearn | None = None
    torch: Torch | None = None

    @model_validator(mode="after")
    def _one(self) -> "ModelConf":
        if (self.sklearn is None) == (self.torch is None):
            raise ValueError("name one kind of model: sklearn or torch")
        return self

    @property
    def chosen(self) -> Sklearn | Torch:
        """The one that is named."""
        return self.sklearn or self.torch  # type: ignore[return-value]


class Prediction(NamedTuple):
    """By row: `prediction` of the label's type, `probability` a double, NULL for regression."""

    prediction: pa.Array
    probability: pa.Array


class Model(NamedTuple):
    """A trained model that takes raw rows: the features are inside."""

    spec: Spec
    estimator: Estimator | Network
    label: Label
    certificate: Certificate
    answers: Sequence[str] = ()  # to made-up rows, where it was trained

    @property
    def columns(self) -> list[str]:
        """The raw columns that it takes."""
        return list(self.spec.inputs)

    @property
    def digest(self) -> str:
        """Names its spec."""
        return self.spec.digest

    @property
    def prediction_type(self) -> pa.DataType:
        """The Arrow type of predictions."""
        return ARROW[self.label.family] if self.label.classes else pa.float64()

    @property
    def scores_classes(self) -> bool:
        """Whether it gives probabilities."""
        return self.label.classes

    @property
    def at_once(self) -> int:
        """How many rows' features are held together."""
        return rows_at_once(self.spec.outs.values())

    def refuse_other_columns(self, rows: "DataFrame") -> None:
        """DataError where a column is missing or of another type."""
        self.spec.transform(rows)

    def predict(self, rows: pa.Table | pa.RecordBatch) -> Prediction:
        """The outcome of each raw row (DataError where a column is missing or of another type)."""
        return self.of_arrays(self.spec.arrow(rows))

    def of_arrays(self, arrays: dict[str, npt.NDArray[Any]]) -> Prediction:
        """The outcome of each row of features."""
        if not self.label.classes:
            return Prediction(_finite(self.estimator.value(arrays)), pa.nulls(_rows(arrays), pa.float64()))
        probability = self.estimator.probability(arrays)
        names = pa.array([self.label.negative, self.label.positive], self.prediction_type)
        return Prediction(names.take(pa.array((probability >= THRESHOLD).astype(np.int8))), _finite(probability))

    @property
    def parity(self) -> Parity:
        """Whether made-up rows have the bits that they had where it was trained, in another order and alone."""
        return measure_parity(self._predict, self.spec.outs, self.answers or exact_predictions(self._predict, self.spec.outs))

    def _predict(self, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        return self.estimator.probability(arrays) if self.label.classes else self.estimator.value(arrays)

    def save(self, folder: Path) -> str:
        """Writes the model into a folder, and gives its digest."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_text(self.spec.to_json(), "utf-8")
        self.estimator.save(folder)
        self.certificate.save(folder)
        facts: dict[str, Any] = {"label": self.label._asdict(), "answers": exact_predictions(self._predict, self.spec.outs)}
        facts |= {"sparse": self.estimator.sparse} if isinstance(self.estimator, Estimator) else {}
        (folder / "model.json").write_text(json.dumps(facts), "utf-8")
        return folder_digest(folder)

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Reads what `save` wrote (DataError: damaged or incomplete; PromiseError: features have other bits here)."""
        try:
            facts = json.loads((folder / "model.json").read_text("utf-8"))
            spec = Spec.from_json((folder / "spec.json").read_text("utf-8"))
            estimator = Estimator.load(folder, spec, sparse=facts["sparse"]) if "sparse" in facts else Network.load(folder, spec)
            model = cls(spec, estimator, Label(**facts["label"]), Certificate.load(folder), facts.get("answers", ()))
        except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's errors are ValueErrors, too
            raise DataError(f"the model in {folder} is damaged or incomplete: {error}") from error
        model.certificate.check(spec)
        return model


def _finite(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def _rows(arrays: dict[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(arrays.values())))
