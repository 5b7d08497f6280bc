"""The option `label.threshold`: how the threshold of a class is chosen."""

from typing import Any, Literal

from pydantic import Field, model_validator

from keyfold.core.section import OneOf, Section


class Costs(Section):
    """Costs of wrong predictions, in any unit."""

    false_positive: float = Field(
        ge=0, allow_inf_nan=False, description="Cost of a row that is predicted, and is not.", examples=[5]
    )
    false_negative: float = Field(
        ge=0, allow_inf_nan=False, description="Cost of a row that is not predicted, and is.", examples=[80]
    )

    @model_validator(mode="after")
    def _one_is_positive(self) -> "Costs":
        if not self.false_positive + self.false_negative:
            raise ValueError("one of false_positive and false_negative must be more than 0")
        return self


class Threshold(OneOf):
    """What the threshold shall be best for, on the validation fold."""

    _choices = ("maximise", "precision_at_least", "recall_at_least", "cost")

    maximise: Literal["f1", "balanced_accuracy", "f_beta"] | None = Field(None, description="The metric that is highest.")
    precision_at_least: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Least precision; of the thresholds that have it, the one with the highest recall.",
        examples=[0.9],
    )
    recall_at_least: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Least recall; of the thresholds that have it, the one with the highest precision.",
        examples=[0.9],
    )
    cost: Costs | None = Field(
        None,
        description="Costs of wrong predictions; their mean is lowest.",
        examples=[{"false_positive": 5, "false_negative": 80}],
    )
    beta: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="How much recall counts in `f_beta`, as a multiple of precision.",
        examples=[2],
    )

    @model_validator(mode="after")
    def _beta_is_for_f_beta(self) -> "Threshold":
        if (self.maximise == "f_beta") != (self.beta is not None):
            raise ValueError("`maximise: f_beta` and `beta` belong together, as in {maximise: f_beta, beta: 2}")
        return self

    @property
    def rule(self) -> dict[str, Any]:
        """The rule as `evaluation.thresholds.choose_threshold` takes it."""
        return self.model_dump(exclude_none=True)
