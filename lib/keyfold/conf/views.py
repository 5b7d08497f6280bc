"""The sections `view`, which offers a feature table, and `data.views`, which take columns from one."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from keyfold.core.section import Section

DURATION = r"^[1-9]\d{0,6} (minute|hour|day|week)s?$"


class View(Section):
    """What a use case offers to others: its feature table as a view."""

    entity: list[str] = Field(
        default_factory=list, description="names whose features they are; default: the key without data.time"
    )
    features: list[str] = Field(default_factory=list, description="columns that are offered; default: the windowed features")
    created: str | None = Field(None, description="the column that says when a row was known; default: at data.time")
    ttl: str | None = Field(None, pattern=DURATION, examples=["30 days"], description="how long a row stands")
    owner: str = ""
    description: str = ""


class ViewSource(Section):
    """A view that a use case takes columns from."""

    table: str | None = Field(None, pattern=r"^\w+(\.\w+){1,2}$", examples=["usage.features"])
    conf: str | None = Field(None, description="or the conf that offers it: it is brought to its rows first")
    entity: dict[str, str] = Field(
        default_factory=dict, description="columns of the rows by those of the view's entity, where their names differ"
    )
    unknown: Literal["null", "error"] = Field("null", description="what rows of an entity that the view does not have come to")

    @model_validator(mode="after")
    def _one_of_two(self) -> "ViewSource":
        if (self.table is None) == (self.conf is None):
            raise ValueError("name either the view's `table` or the `conf` that offers it")
        return self


def _in_short(view: Any) -> Any:
    return {"conf" if view.endswith((".yaml", ".yml")) else "table": view} if isinstance(view, str) else view


Views = list[Annotated[ViewSource, BeforeValidator(_in_short)]]
