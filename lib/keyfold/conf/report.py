"""The section `report`: optional parts of a training's page."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from keyfold.conf.importance import ImportanceOption
from keyfold.conf.rebalance import Rebalance
from keyfold.core.section import Section
from keyfold.errors import ConfError, suggestion
from keyfold.evaluation.metrics import BINARY, LOSS
from keyfold.features.kind import FeatureInput, Kind


def remaining_features(kinds: Mapping[str, Kind], without: Sequence[str]) -> list[str]:
    """Names of the features that remain without some of them.

    Raises ConfError if a name is unknown, if another feature takes a feature that is left out, or if none remains.
    """
    for name in without:
        if name not in kinds:
            raise ConfError(f"there is no feature `{name}`{suggestion(name, kinds)}")
    remaining = [name for name in kinds if name not in without]
    for name in remaining:
        for column in kinds[name].inputs():
            if isinstance(column, FeatureInput) and column.feature in without:
                raise ConfError(f"feature `{name}` takes `{column.feature}`; leave out both, or neither")
    if not remaining:
        raise ConfError("no feature would be left")
    return remaining


class Variant(Section):
    """A variant of the model: options that take the place of those of the conf, whose others stay. `null` takes one away."""

    label: dict[Literal["bands", "take", "interval", "transform", "calibrate", "threshold"], Any] = Field(
        default_factory=dict, examples=[{"bands": None, "interval": 0.9}], description="Options of `label`."
    )
    train: dict[Literal["model", "rebalance", "seed"], Any] = Field(
        default_factory=dict, examples=[{"rebalance": {"majority": 0.1}}], description="Options of `train`."
    )
    without: list[str] = Field(default_factory=list, examples=[["city"]], description="Features to leave out.")

    @model_validator(mode="after")
    def _differs(self) -> "Variant":
        if not (self.label or self.train or self.without):
            raise ValueError("must replace an option of `label` or `train`, or leave features out (got neither)")
        return self


class Report(Section):
    """Optional parts of a training's page."""

    slices: list[str] = Field(
        default_factory=list, examples=[["contract"]], description="Columns; the metrics are shown for each of their values."
    )
    truth: str | None = Field(
        None,
        examples=["true_probability"],
        description="Column with the true probability, as generated data has it; calibration is shown against it. With `label.neutral`: the true class.",
    )
    without: list[Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=list,
        examples=[[["city"], ["plan", "plan_city"]]],
        description="Groups of features to leave out; the model is trained once more without each group, to measure its gain.",
    )
    importance: ImportanceOption | None = Field(
        None,
        exclude_if=lambda importance: importance is None,
        examples=[True, {"metric": LOSS[BINARY], "repeats": 10}],
        description="Measures how much each feature matters to the model, on the test fold: `true`, or a section about it. Default: no.",
    )
    rebalance: list[Rebalance] = Field(
        default_factory=list,
        examples=[[{"majority": 0.1}, {"weights": "balanced"}]],
        description="Ways of rebalancing; the model is trained once more by each, and without any, and they are compared.",
    )
    precision: float = Field(
        0.5, gt=0, le=1, description="Precision at which that comparison shows the recall, if a threshold reaches it."
    )
    compare: dict[str, Variant] = Field(
        default_factory=dict,
        exclude_if=lambda compare: not compare,
        examples=[
            {
                "regression": {
                    "label": {"bands": None},
                    "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}},
                }
            }
        ],
        description="Variants of the model by name; each is trained on the same rows and compared with the model on the test fold, paired.",
    )
    collisions: bool = Field(
        True, description="Whether to count hashed values that share a bucket; takes two passes over the train fold."
    )

    @field_validator("importance", mode="before")
    @classmethod
    def _off(cls, importance: Any) -> Any:
        return None if importance is False else importance
