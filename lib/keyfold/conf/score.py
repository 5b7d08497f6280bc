"""The section `score`: the model, the table of predictions, and the keys to act on."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from keyfold.core.section import OneOf, Section, Share, TableName
from keyfold.errors import ConfError
from keyfold.evaluation.metrics import BINARY
from keyfold.models.registered import MODEL_URI


class Action(OneOf):
    """The keys of a period to act on, highest probabilities first: one of `top`, `over` and `budget`."""

    _choices = ("top", "over", "budget")

    top: float | None = Field(None, gt=0, le=1, description="Share of the scored keys.", examples=[0.1])
    over: float | None = Field(None, ge=0, le=1, description="Keys whose probability exceeds this.", examples=[0.5])
    budget: float | None = Field(None, gt=0, description="As many keys as this budget pays for.", examples=[10_000])
    cost: float = Field(1.0, gt=0, description="Cost of one key, in the unit of `budget`.")
    of: str | None = Field(
        None,
        exclude_if=lambda of: of is None,
        examples=["politics"],
        description="The class, label or band whose probability counts, for a label of more than two classes, of several labels or of bands.",
    )

    def most(self, scored: int) -> int:
        """The largest number of keys, out of `scored` keys."""
        if self.top is not None:
            return int(self.top * scored + 1e-9)
        return scored if self.budget is None else min(scored, int(self.budget / self.cost + 1e-9))

    def __str__(self) -> str:
        of = f" of {self.of}" if self.of else ""
        if self.top is not None:
            return f"the {self.top:.0%} with the highest probability{of}"
        if self.over is not None:
            return f"probability{of} over {self.over:g}"
        return f"as many as {self.budget:g} pays for at {self.cost:g} each{of and ', by the probability' + of}"


def check_actions(actions: Mapping[str, Action], kinds: Sequence[str]) -> None:
    """Raises ConfError if an action names a class and the label has two, or names none and the label has several.

    kinds: those that the label may have.
    """
    for name, action in actions.items():
        if action.of is not None and (*kinds,) == (BINARY,):
            raise ConfError(f"score.actions.{name}.of {ONE_PROBABILITY}")
        if action.of is None and BINARY not in kinds:
            raise ConfError(no_class(name))


ONE_PROBABILITY = "names one of several classes, and this model gives the probability of one of two; leave it out"


def no_class(name: str) -> str:
    """A sentence about an action that names none of several classes."""
    return f"score.actions.{name}: this model gives the probabilities of several classes; name one, such as `{{top: 0.1, of: politics}}`"


class Score(Section):
    """The model, the table of predictions, and the keys to act on."""

    into: TableName | None = Field(
        None, examples=["ml.churn_scores"], description="Table of predictions. Default: `<name>.predictions`."
    )
    model: str | None = Field(
        None, pattern=MODEL_URI,
        examples=["models:/churn@champion", "models:/churn/3", "runs:/0123abcd"],
        description="The model that scores. Default: the champion of the registered model.",
    )  # fmt: skip
    trust: str | None = Field(
        None, pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"],
        description="Digest of a model that keyfold did not train; allows its code to run.",
    )  # fmt: skip
    keep: Literal["none", "latest"] = Field(
        "none", description="Which row of a duplicate key is scored: none (the key is quarantined), or the latest by `data.time`."
    )
    max_quarantine: Share = Field(
        0.1,
        description="Largest share of rows that may have no prediction; above it, the table is not changed and the job fails.",
    )
    reasons: int | None = Field(
        None,
        ge=1,
        le=100,
        exclude_if=lambda reasons: reasons is None,
        examples=[3],
        description="Number of features that moved an answer most, which predictions list with sign and size; training prepares them. "
        "For a number or one of two classes. Default: none.",
    )
    actions: dict[str, Action] = Field(
        default_factory=dict,
        examples=[{"call": {"top": 0.1}}],
        description="Lists of keys to act on, by name; each is written as a table and as a CSV file.",
    )

    @model_validator(mode="after")
    def _actions_name_tables(self) -> "Score":
        for name in self.actions:
            if not name.isidentifier() or not name.isascii():
                raise ValueError(f"the action `{name}` names a table; use letters, digits and _")
        return self
