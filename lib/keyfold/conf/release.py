"""The section `release`: when a new version is promoted."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from keyfold.core.section import Section
from keyfold.evaluation.metrics import Metric

MetricName = Literal["roc_auc", "pr_auc", "log_loss", "brier", "lift_top_decile", "rmse", "mae", "r2"]
HIGHER_IS_BETTER = ("roc_auc", "pr_auc", "lift_top_decile", "r2")
MIN_TEST_ROWS = 10  # rows of the test fold, of each class, on which a metric says little


class Bound(Section):
    """What a metric must be on the test fold."""

    at_least: float | None = None
    at_most: float | None = None
    better_than: Literal["champion"] | None = Field(
        None,
        description="both score the rows of the test fold; the 95 % interval of the difference must be on the better side of 0",
    )
    interval: bool = Field(
        False, description="hold at_least against the lower end of the 95 % interval, and at_most against its upper end"
    )
    min_rows: int = Field(
        MIN_TEST_ROWS,
        ge=0,
        description="rows that the test fold must have, of each class where the label is one; fewer do not promote",
    )

    @model_validator(mode="after")
    def _says_something(self) -> "Bound":
        bounds = (self.at_least, self.at_most)
        if bounds == (None, None) and self.better_than is None:
            raise ValueError("must have at_least, at_most or better_than")
        if bounds == (None, None) and self.interval:
            raise ValueError("`interval` is for at_least and at_most; better_than always goes by the interval")
        return self

    def cleared(self, metric: Metric) -> bool:
        """Whether a metric, or its whole interval, is within; NaN never is."""
        least, most = (metric.low, metric.high) if self.interval else (metric.value, metric.value)
        return (self.at_least is None or least >= self.at_least) and (self.at_most is None or most <= self.at_most)

    def __str__(self) -> str:
        said = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{word} {value:g}" for word, value in said.items() if value is not None)


class Release(Section):
    """When a new version is promoted; without conditions always."""

    promote_if: dict[MetricName, Bound] = Field(default_factory=dict)

    @field_validator("promote_if", mode="before")
    @classmethod
    def _of_a_metric(cls, given: Any) -> Any:
        if isinstance(given, dict) and (odd := [name for name in given if name in Bound.model_fields]):
            raise ValueError(f"must name the metric, as in {{roc_auc: {{{odd[0]}: {given[odd[0]]}}}}}")
        return given

    @property
    def compares(self) -> bool:
        """Whether the champion must score the test fold as well."""
        return any(bound.better_than for bound in self.promote_if.values())
