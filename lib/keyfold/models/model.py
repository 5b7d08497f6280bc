"""A trained model as one folder: spec and label in JSON, parameters in skops or safetensors, nothing pickled."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core.digests import folder_digest
from keyfold.engine.frame import Frame
from keyfold.errors import DataError
from keyfold.evaluation import calibrators
from keyfold.evaluation.calibrators import Calibrator
from keyfold.features.certificate import Certificate
from keyfold.features.kind import rows_at_once
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Answer, Label, label_from_json
from keyfold.models.cascade import STAGE, Cascade
from keyfold.models.ensemble import Ensemble
from keyfold.models.member_fits import Fitted
from keyfold.models.parity import Parity, exact_predictions, measure_parity
from keyfold.models.prior import PriorCorrection
from keyfold.models.reasons import REASON, REASONS, Reasons, strongest
from keyfold.models.registered import RegisteredMember
from keyfold.models.rules import Rules
from keyfold.models.sklearn import Estimator
from keyfold.models.torch import Network


class Model(NamedTuple):
    """A trained model that takes raw rows; it contains the features."""

    spec: Spec
    estimator: Fitted
    label: Label
    certificate: Certificate
    made_up_predictions: Sequence[str] = ()  # of synthetic rows, on the machine of the training
    calibrator: Calibrator | None = None
    explained: Reasons | None = None
    reasons: int = 0  # number of reasons in an answer

    @property
    def columns(self) -> list[str]:
        """Names of the raw columns that the model takes."""
        return list(self.spec.inputs)

    @property
    def digest(self) -> str:
        """Digest of the spec."""
        return self.spec.digest

    @property
    def answer_types(self) -> dict[str, pa.DataType]:
        """The Arrow types of the columns of an answer."""
        return self.plain_types | ({REASONS: pa.list_(REASON)} if self.reasons else {})

    @property
    def plain_types(self) -> dict[str, pa.DataType]:
        """`answer_types` without reasons."""
        return self.label.types | ({STAGE: pa.string()} if isinstance(self.estimator, Cascade) else {})

    @property
    def rows_at_once(self) -> int:
        """Number of rows whose features are in memory at a time."""
        return rows_at_once(self.spec.outs.values())

    def check_columns(self, rows: Frame) -> None:
        """Raises DataError if a column is missing or of another type."""
        self.spec.transform(rows)

    def predict(self, rows: pa.Table | pa.RecordBatch) -> Answer:
        """The answers for raw rows; raises DataError if a column is missing or of another type."""
        if isinstance(self.estimator, Cascade):
            numbers, stages = self.estimator.answers(rows, self.label)
            return self.label.answer(numbers) | {STAGE: stages}
        arrays = self.spec.arrow(rows)
        answer = self.label.answer(self.numbers(arrays))
        return answer | ({REASONS: strongest(self.contributions(arrays), [*arrays], self.reasons)} if self.reasons else {})

    def with_reasons(self, most: int) -> "Model":
        """The model with that many reasons in its answers, 0 for none; raises DataError if its training did not prepare them."""
        if most and self.explained is None:
            raise DataError(
                "the model was trained without `score.reasons`, so it has no reference for reasons; train it again with it"
            )
        return self._replace(reasons=most)

    def contributions(self, arrays: FeatureArrays) -> npt.NDArray[np.float64]:
        """What each feature adds to the answers of n rows (n, features), in the unit `explained.unit`; only of a model with `explained`."""
        assert self.explained is not None
        return self.explained.contributions(self.estimator, self.numbers, arrays)

    @property
    def parity(self) -> Parity:
        """Whether predictions of synthetic rows have the bits that they had in training, in another order and alone."""
        expected = self.made_up_predictions or exact_predictions(self.numbers, self.spec.outs)
        return measure_parity(self.numbers, self.spec.outs, expected)

    def numbers(self, arrays: FeatureArrays) -> npt.NDArray[np.float64]:
        """What the model predicts as numbers, which its label explains: (n,) or (n, width)."""
        numbers = self.estimator.numbers(arrays, self.label)
        return self.calibrator(numbers) if self.calibrator else numbers

    def save(self, folder: Path) -> str:
        """Writes the model into a folder; returns the folder's digest."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_text(self.spec.to_json(), "utf-8")
        self.estimator.save(folder)
        self.certificate.save(folder)
        facts: dict[str, Any] = {"label": self.label.to_json(), "answers": exact_predictions(self.numbers, self.spec.outs)}
        facts |= self.estimator.facts
        facts |= {"prior": self.estimator.prior.factors} if self.estimator.prior else {}
        facts |= {"calibrator": calibrators.to_json(self.calibrator)} if self.calibrator else {}
        facts |= {"reasons": self.explained.to_json()} if self.explained else {}
        (folder / "model.json").write_text(json.dumps(facts), "utf-8")
        return folder_digest(folder)

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Reads a saved model; raises DataError if it is damaged, PromiseError if its features have other bits on this machine."""
        try:
            facts = json.loads((folder / "model.json").read_text("utf-8"))
            spec = Spec.from_json((folder / "spec.json").read_text("utf-8"))
            estimator = load_fitted(folder, spec, facts)
            estimator.prior = PriorCorrection.from_json(facts["prior"]) if "prior" in facts else None
            label, certificate = label_from_json(facts["label"]), Certificate.load(folder)
            calibrator = calibrators.from_json(facts["calibrator"]) if "calibrator" in facts else None
            explained = Reasons(**facts["reasons"]) if "reasons" in facts else None
            model = cls(spec, estimator, label, certificate, facts.get("answers", ()), calibrator, explained)
        except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's errors are ValueErrors
            raise DataError(f"the model in {folder} is damaged or incomplete: {error}") from error
        model.certificate.check(spec)
        return model


def load_fitted(folder: Path, spec: Spec, facts: Mapping[str, Any]) -> Fitted:
    """Reads a saved estimator, network, ensemble, cascade or registered member by its facts. Raises OSError, ValueError, KeyError or TypeError if it is damaged."""
    if "registered" in facts:
        return RegisteredMember.load(folder, Model.load(folder), facts)
    if "members" in facts:
        return Ensemble.load(folder, spec, facts, load_fitted)
    if "stages" in facts:
        return Cascade.load(folder, spec, facts, load_fitted)
    if "rules" in facts:
        return Rules(spec, facts["rules"], np.array(facts["shares"]))
    return Estimator.load(folder, spec, sparse=facts["sparse"]) if "sparse" in facts else Network.load(folder, spec)
