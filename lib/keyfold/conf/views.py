"""The sections `view`, which publishes a feature table, and `data.views`, which join columns of such tables."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from keyfold.core.section import OneOf, Section, TableName

DURATION = r"^[1-9]\d{0,6} (minute|hour|day|week)s?$"


class View(Section):
    """Publishes the feature table of a use case as a view for others."""

    entity: list[str] = Field(
        default_factory=list,
        examples=[["customer_id"]],
        description="Columns that identify the entity of the features. Default: the key without `data.time`.",
    )
    features: list[str] = Field(default_factory=list, description="Published columns. Default: the windowed features.")
    created: str | None = Field(None, description="Column with the time at which a row became known. Default: `data.time`.")
    ttl: str | None = Field(
        None, pattern=DURATION, examples=["30 days"], description="How long a row is valid. Default: no limit."
    )
    owner: str = Field("", examples=["customer analytics"], description="Who maintains the view; shown in its description.")
    description: str = Field("", description="What the view contains.")


class ViewSource(OneOf):
    """A view whose columns a use case joins: its `table`, or the `conf` that publishes it."""

    _choices = ("table", "conf")

    table: TableName | None = Field(None, examples=["usage.features"], description="Table of the view.")
    conf: str | None = Field(
        None,
        examples=["conf/usage.yaml"],
        description="Conf that publishes the view; its feature table is brought up to date first.",
    )
    entity: dict[str, str] = Field(
        default_factory=dict,
        examples=[{"customer_id": "client"}],
        description="Columns of the rows by the view's entity columns, where the names differ.",
    )
    unknown: Literal["null", "error"] = Field(
        "null", description="Rows whose entity is not in the view. null: their view columns are NULL; error: the job fails."
    )


def _from_text(view: Any) -> Any:
    return {"conf" if view.endswith((".yaml", ".yml")) else "table": view} if isinstance(view, str) else view


Views = list[Annotated[ViewSource, BeforeValidator(_from_text)]]
