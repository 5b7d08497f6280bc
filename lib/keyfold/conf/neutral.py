"""The option `label.neutral`: rows that are none of the classes, or a model that may decline."""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from keyfold.core.section import OneOf
from keyfold.errors import duplicates
from keyfold.evaluation.thresholds import UNTUNED

if TYPE_CHECKING:
    from keyfold.conf.label import LabelConf

ALL_AGREE = 1.0


class NeutralConf(OneOf):
    """Which rows are neutral: those on which raters disagree, those in a range of numbers, or those that the model declines."""

    _choices = ("votes", "between", "abstain")

    votes: list[str] | None = Field(
        None,
        min_length=2,
        examples=[["rater_1", "rater_2", "rater_3"]],
        description="Columns with the class that each rater names, in place of `column`; the label is the class that most of them name.",
    )
    agreement: float = Field(
        ALL_AGREE,
        gt=0.5,
        le=1,
        description="Least share of the raters who name that class, to two digits (0.67 is two of three); other rows are neutral.",
    )
    between: list[float] | None = Field(
        None,
        min_length=2,
        max_length=2,
        examples=[[3, 3]],
        description="Lowest and highest number of the neutral rows; the other classes are the numbers below and above.",
    )
    abstain: float | None = Field(
        None,
        gt=0,
        lt=1,
        examples=[0.9],
        description="Probability below which the most probable class is not predicted, but `neutral`; the model learns no neutral class.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "NeutralConf":
        if self.agreement != ALL_AGREE and not self.votes:
            raise ValueError("`agreement` is for `votes`")
        if repeated := duplicates(self.votes or ()):
            raise ValueError(f"`votes` has `{repeated[0]}` twice")
        if self.between and not self.between[0] <= self.between[1]:
            raise ValueError(f"`between` must be the lowest and the highest neutral number, in that order (got {self.between})")
        return self

    @property
    def raters(self) -> list[str]:
        """The columns of the raters; empty without `votes`."""
        return self.votes or []

    @property
    def votes_needed(self) -> int:
        """The number of raters who must name a class."""
        return next(n for n in range(1, len(self.raters) + 1) if round(n / len(self.raters), 2) >= self.agreement)


def check_neutral(label: "LabelConf") -> None:
    """Raises ValueError if other options of the label do not go with `neutral`."""
    neutral = label.neutral
    if neutral is None:
        return
    of_others = {"bands": label.bands, "columns": label.columns, "separator": label.separator}
    if others := [*(name for name, value in of_others.items() if value is not None), *label.of_numbers]:
        raise ValueError(f"`neutral` is for labels of which each row has one class, and `{others[0]}` is not; leave one out")
    if label.threshold != UNTUNED:
        raise ValueError("`threshold` is for two classes; with `neutral`, the most probable one is predicted, so leave it out")
    if neutral.between and label.positive is not None:
        low, high = neutral.between
        above = getattr(label.positive, "above", None)
        if above is None or not low <= above <= high:
            raise ValueError(
                f"`positive` with `neutral.between` must be `above` a number from {low:g} to {high:g}, or be left out: the positive "
                f"class is the numbers above {high:g}"
            )
