"""Which model version answers: a version becomes `champion` when its test fold clears `promote_if`."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from keyfold.core.section import Section
from keyfold.evaluation.metrics import Metric, figure

Name = Literal["roc_auc", "pr_auc", "log_loss", "brier", "lift_top_decile", "rmse", "mae", "r2"]
HIGHER_IS_BETTER = ("roc_auc", "pr_auc", "lift_top_decile", "r2")
FEW = 10  # rows of the test fold, of each class, on which a metric says little


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
        FEW, ge=0, description="rows that the test fold must have, of each class where the label is one; fewer do not promote"
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

    promote_if: dict[Name, Bound] = Field(default_factory=dict)

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


class Evidence(NamedTuple):
    """What is known of a version on its test fold.

    `few`: the rows of its smallest class, or of all where the label is a number (None: unknown). `gain`: its metrics less those of the
    champion on the same rows (None: there is no other champion); `not_compared`: why there are none.
    """

    metrics: Mapping[str, Metric]
    few: int | None = None
    gain: Mapping[str, Metric] | None = None
    not_compared: str = ""


def hindrances(release: Release, evidence: Evidence) -> list[str]:
    """Why a version is not promoted, a sentence each; none means that it is."""
    return [said for name, bound in release.promote_if.items() for said in _hindrances(name, bound, evidence)]


def _hindrances(name: str, bound: Bound, evidence: Evidence) -> list[str]:
    metric = evidence.metrics.get(name)
    if metric is None:
        return [f"{name} was not measured (measured: {', '.join(evidence.metrics)})"]
    said = []
    if evidence.few is not None and evidence.few < bound.min_rows:
        said.append(f"{too_few(evidence)} to measure {name} on (release.promote_if.{name}.min_rows is {bound.min_rows})")
    if not bound.cleared(metric):
        found = figure(metric.value, digits=4) + (f" ({metric.low:.4f} – {metric.high:.4f})" if bound.interval else "")
        said.append(f"{name} on the test fold is {found}, and {'its whole interval ' if bound.interval else ''}must be {bound}")
    if bound.better_than and evidence.not_compared:
        said.append(f"{name} cannot be compared with the champion's: {evidence.not_compared}")
    elif bound.better_than and evidence.gain is not None and not _better(name, evidence.gain[name]):
        value, low, high = evidence.gain[name]
        side = "above" if name in HIGHER_IS_BETTER else "below"
        said.append(
            f"{name} less that of the champion on the same test rows is {value:.4f} ({low:.4f} – {high:.4f}), "
            f"and the whole interval must be {side} 0"
        )
    return said


def too_few(evidence: Evidence) -> str:
    """What to say of a test fold with so few rows."""
    rows = "1 row" if evidence.few == 1 else f"{evidence.few or 0} rows"
    return f"the test fold has {rows}{' of a class' if 'roc_auc' in evidence.metrics else ''}, too few"


def _better(name: str, gain: Metric) -> bool:
    return gain.low > 0 if name in HIGHER_IS_BETTER else gain.high < 0
