"""The option `report.importance`: how much the features of a model matter, by permutation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from keyfold.conf.tune import metric_faults
from keyfold.core.section import Section
from keyfold.errors import ConfError
from keyfold.evaluation.metrics import MAIN, MetricName

if TYPE_CHECKING:
    from keyfold.conf.train import Train


class Importance(Section):
    """Importance of the features by permutation: what a metric loses on the test fold if rows swap their values of a feature."""

    metric: MetricName | None = Field(
        None,
        description="Metric whose loss is measured. Default: the main one of the label's kind, "
        + ", ".join(f"`{name}` of {kind}" for kind, name in MAIN.items())
        + ".",
    )
    repeats: int = Field(5, ge=1, le=100, description="Permutations of each feature; the loss is their mean.")
    rows: int = Field(100_000, ge=1, description="Number of rows of the test fold at most, chosen by the hash of their key.")
    most: int = Field(
        20, ge=1, description="Number of features, the most important ones, that are shown with an interval, and logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, importance: Any) -> Any:
        return {} if importance is True else importance


def check_importance(importance: Importance | None, train: "Train | None", kinds: Sequence[str]) -> None:
    """Raises ConfError if there is no model, or if the label has another metric.

    kinds: those that the label of a classifier may have.
    """
    if importance is None:
        return
    if train is None:
        raise ConfError("report.importance is about a model, and the conf has no section `train`")
    for fault in metric_faults("report.importance.metric", importance.metric, train.model, kinds):
        raise ConfError(fault)


class _OrTrue:
    """Adds `true` and `false` to the JSON schema."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "boolean"}, handler(core_schema)]}


ImportanceOption = Annotated[Importance, _OrTrue()]
