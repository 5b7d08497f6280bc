"""Which model version answers: a version becomes `champion` when its test fold clears `promote_if`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from keyfold.metrics import Metric, figure
from keyfold.section import Section

Name = Literal["roc_auc", "pr_auc", "log_loss", "brier", "lift_top_decile", "rmse", "mae", "r2"]


class Bound(Section):
    """What a metric must be."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Bound":
        if self.at_least is None and self.at_most is None:
            raise ValueError("must have at_least or at_most")
        return self

    def cleared(self, value: float) -> bool:
        """Whether a value is within; NaN never is."""
        low, high = self.at_least, self.at_most
        return (low is None or value >= low) and (high is None or value <= high)

    def __str__(self) -> str:
        said = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{word} {value:g}" for word, value in said.items() if value is not None)


class Release(Section):
    """When a new version is promoted; without conditions always."""

    promote_if: dict[Name, Bound] = Field(default_factory=dict)


def hindrances(release: Release, metrics: Mapping[str, Metric]) -> list[str]:
    """Why a version is not promoted, a sentence each; none means that it is."""
    said = []
    for name, bound in release.promote_if.items():
        if name not in metrics:
            said.append(f"{name} was not measured (measured: {', '.join(metrics)})")
        elif not bound.cleared(metrics[name].value):
            said.append(f"{name} on the test fold is {figure(metrics[name].value, digits=4)}, and must be {bound}")
    return said
