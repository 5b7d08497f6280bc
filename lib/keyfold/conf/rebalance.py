"""The section `train.rebalance`: how training treats classes of very different frequency."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from keyfold.core.section import OneOf, Section, text_names
from keyfold.errors import ConfError
from keyfold.features.kind import Kind
from keyfold.models.section import ModelConf

_OF_NETWORKS = ("minority", "weights")


class Smote(Section):
    """SMOTE: new rows between neighbours of the same class, until all classes have as many rows as the most frequent one."""

    neighbours: int = Field(5, ge=1, description="Number of nearest rows of its class that a row is combined with.")


class Rebalance(OneOf):
    """Rows or weights of the classes in training. Rows that a model is measured on stay as they are."""

    _choices = ("majority", "minority", "weights", "smote")

    majority: float | None = Field(
        None,
        gt=0,
        le=1,
        examples=[0.1],
        description="Undersampling: the share of rows of the most frequent class that is kept, by the hash of the key.",
    )
    minority: float | None = Field(
        None,
        ge=1,
        allow_inf_nan=False,
        examples=[5],
        description="Oversampling: how often each row of the least frequent class occurs; the hash of the key decides about a part.",
    )
    weights: Literal["balanced"] | dict[str, float] | None = Field(
        None,
        examples=["balanced", {"true": 5, "false": 1}],
        description="Weights of the classes. balanced: inversely proportional to their frequency.",
    )
    smote: Smote | None = Field(
        None, examples=[{}], description="New rows by SMOTE, for features that are numbers; needs the extra `imbalance`."
    )
    correct: bool = Field(
        True, description="Whether probabilities are corrected for the changed shares of the classes, which would bias them."
    )

    _class_names = field_validator("weights", mode="before")(text_names)

    @field_validator("weights")
    @classmethod
    def _are_positive(
        cls, weights: Literal["balanced"] | dict[str, float] | None
    ) -> Literal["balanced"] | dict[str, float] | None:
        for name, weight in weights.items() if isinstance(weights, dict) else ():
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of `{name}` must be a positive number (got {weight:g})")
        return weights

    def __str__(self) -> str:
        value = self.smote.neighbours if self.smote else getattr(self, self.choice)
        named = ", ".join(f"{name} {weight:g}" for name, weight in value.items()) if isinstance(value, dict) else None
        shown = named or (value if isinstance(value, str) else f"{value:g}")
        return f"{self.choice} {shown}{'' if self.correct else ', not corrected'}"


def replaced_options(raw: Any) -> Iterator[str]:
    """One sentence if a conf has the option `train.class_weight`, whose place `train.rebalance` takes."""
    train = raw.get("train")
    if isinstance(train, dict) and "class_weight" in train:
        weights = json.dumps(train["class_weight"], ensure_ascii=False, default=str)
        yield (
            f"train.class_weight is not an option any more: write `rebalance: {{weights: {weights}, correct: false}}`; without "
            "`correct: false` probabilities are corrected for the weights"
        )


def check_rebalance(ways: Mapping[str, Rebalance], model: ModelConf | None, kinds: Mapping[str, Kind]) -> None:
    """Raises ConfError, which lists all faults, unless the model can be trained by these ways, which are named by their options."""
    if faults := [f"{path}{fault}" for path, rebalance in ways.items() for fault in _faults(rebalance, model, kinds)]:
        raise ConfError("; ".join(faults))


def _faults(rebalance: Rebalance, model: ModelConf | None, kinds: Mapping[str, Kind]) -> Iterator[str]:
    if model is None:
        yield " is about a model, and the conf has no section `train`"
        return
    if not model.chosen.classifies:
        yield " balances classes, and this model predicts a number; leave it out"
    if model.torch and rebalance.choice not in _OF_NETWORKS:
        yield f".{rebalance.choice} is for scikit-learn models; for a network take `minority` or `weights`"
    if rebalance.smote and (indices := [name for name, kind in kinds.items() if not _is_number(kind)]):
        yield (
            f".smote draws rows between others, so features must be numbers, and `{indices[0]}` is not: take `target_encoded` or "
            "`numeric`, or another way than smote"
        )


def _is_number(kind: Kind) -> bool:
    state: dict[str, Any] = {}
    try:
        return kind.output(state).type == "double"
    except KeyError:  # the width of an index depends on the fitted state
        return False
