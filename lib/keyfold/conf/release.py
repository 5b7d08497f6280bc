"""The section `release`: when a new version is promoted to champion."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from keyfold.core.section import Section
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import BINARY, MAIN, MetricName

MIN_TEST_ROWS = 10  # rows of each class; a metric on fewer rows of the test fold means little


class Bound(Section):
    """The condition on one metric of the test fold."""

    at_least: float | None = Field(None, examples=[0.75], description="Lower bound of the metric.")
    at_most: float | None = Field(None, examples=[0.5], description="Upper bound of the metric.")
    better_than: Literal["champion"] | None = Field(
        None,
        description="The new version must beat the champion on the rows of the test fold: the 95 % interval of the difference "
        "must be on the better side of 0.",
    )
    interval: bool = Field(
        False,
        description="Whether `at_least` is compared with the lower end of the metric's 95 % interval, and `at_most` with its upper end.",
    )
    min_rows: int = Field(
        MIN_TEST_ROWS,
        ge=0,
        description="Minimum number of rows of the test fold, per class if the label is a class; with fewer, no version is promoted.",
    )

    @model_validator(mode="after")
    def _has_a_bound(self) -> "Bound":
        bounds = (self.at_least, self.at_most)
        if bounds == (None, None) and self.better_than is None:
            raise ValueError("must have at_least, at_most or better_than")
        if bounds == (None, None) and self.interval:
            raise ValueError("`interval` is for at_least and at_most; better_than always uses the interval")
        return self

    def cleared(self, metric: Metric) -> bool:
        """Whether the metric, or its whole interval, is within the bounds; False for NaN."""
        least, most = (metric.low, metric.high) if self.interval else (metric.value, metric.value)
        return (self.at_least is None or least >= self.at_least) and (self.at_most is None or most <= self.at_most)

    def __str__(self) -> str:
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{words} {value:g}" for words, value in bounds.items() if value is not None)


class Release(Section):
    """When a new version is promoted to champion; without conditions, always."""

    promote_if: dict[MetricName, Bound] = Field(
        default_factory=dict,
        examples=[{MAIN[BINARY]: {"at_least": 0.75}}],
        description="Conditions by metric; all must hold for a promotion. Default: every new version is promoted.",
    )

    @field_validator("promote_if", mode="before")
    @classmethod
    def _names_metrics(cls, conditions: Any) -> Any:
        if isinstance(conditions, dict) and (bounds := [name for name in conditions if name in Bound.model_fields]):
            raise ValueError(f"must name the metric, as in {{roc_auc: {{{bounds[0]}: {conditions[bounds[0]]}}}}}")
        return conditions

    @property
    def compares(self) -> bool:
        """Whether the champion must score the test fold too."""
        return any(bound.better_than for bound in self.promote_if.values())
