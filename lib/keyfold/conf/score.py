"""The section `score`: which model answers, where predictions go, and which keys to act on."""

from typing import Literal

from pydantic import Field, model_validator

from keyfold.core.section import Section

MODEL_URI = r"^(models:/[^/@]+(@[\w-]+|/\d+)|runs:/\w+)$"


class Action(Section):
    """Which keys of a period to act on, the highest probabilities first: {top: share}, {over: probability} or {budget: …}."""

    top: float | None = Field(None, gt=0, le=1, description="share of the scored keys", examples=[0.1])
    over: float | None = Field(None, ge=0, le=1, description="probability that is exceeded")
    budget: float | None = Field(None, gt=0, description="what all together may cost")
    cost: float = Field(1.0, gt=0, description="of one key, in the budget's unit")

    @model_validator(mode="after")
    def _one(self) -> "Action":
        if sum(way is not None for way in (self.top, self.over, self.budget)) != 1:
            raise ValueError("name one of top, over and budget")
        return self

    def most(self, scored: int) -> int:
        """How many keys at most, of so many."""
        if self.top is not None:
            return int(self.top * scored + 1e-9)
        return scored if self.budget is None else min(scored, int(self.budget / self.cost + 1e-9))

    def __str__(self) -> str:
        if self.top is not None:
            return f"the {self.top:.0%} with the highest probability"
        return (
            f"probability over {self.over:g}"
            if self.over is not None
            else f"as many as {self.budget:g} pay at {self.cost:g} each"
        )


class Score(Section):
    """Which model answers, where predictions go, and what is done about them."""

    into: str | None = Field(
        None, pattern=r"^\w+(\.\w+){1,2}$", examples=["ml.churn_scores"], description="default: <name>.predictions"
    )
    model: str | None = Field(
        None, pattern=MODEL_URI,
        examples=["models:/churn@champion", "models:/churn/3", "runs:/0123abcd"],
        description="default: the champion of the conf's name",
    )  # fmt: skip
    trust: str | None = Field(
        None, pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"],
        description="the digest of a model that keyfold did not train: its code is run",
    )  # fmt: skip
    keep: Literal["none", "latest"] = Field("none", description="which row of a repeated key is scored; latest by data.time")
    max_quarantine: float = Field(0.1, ge=0, le=1, description="share of rows without a prediction, above which nothing changes")
    actions: dict[str, Action] = Field(default_factory=dict, description="keys to act on, each as a table and as a CSV file")

    @model_validator(mode="after")
    def _named(self) -> "Score":
        for name in self.actions:
            if not name.isidentifier() or not name.isascii():
                raise ValueError(f"action `{name}` names a table: take letters, digits and _")
        return self
