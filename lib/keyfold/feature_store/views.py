"""Feature views: tables of features by entity and time that say so themselves; `point_in_time` joins them."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from keyfold.core.digests import digest
from keyfold.core.section import Section
from keyfold.errors import DataError, nearest
from keyfold.feature_store.point_in_time import Known
from keyfold.features.kinds.windowed import span

if TYPE_CHECKING:
    from keyfold.engine.tables import Table

PROPERTY = "keyfold.view"
LENGTH = r"^[1-9]\d{0,6} (minute|hour|day|week)s?$"


class View(Section):
    """What a use case offers to others: its feature table as a view."""

    entity: list[str] = Field(
        default_factory=list, description="names whose features they are; default: the key without data.time"
    )
    features: list[str] = Field(default_factory=list, description="columns that are offered; default: the windowed features")
    created: str | None = Field(None, description="the column that says when a row was known; default: at data.time")
    ttl: str | None = Field(None, pattern=LENGTH, examples=["30 days"], description="how long a row stands")
    owner: str = ""
    description: str = ""


class Viewed(Section):
    """A view that a use case takes columns from."""

    table: str | None = Field(None, pattern=r"^\w+(\.\w+){1,2}$", examples=["usage.features"])
    conf: str | None = Field(None, description="or the conf that offers it: it is brought to its rows first")
    entity: dict[str, str] = Field(
        default_factory=dict, description="columns of the rows by those of the view's entity, where their names differ"
    )
    unknown: Literal["null", "error"] = Field("null", description="what rows of an entity that the view does not have come to")

    @model_validator(mode="after")
    def _one_of_two(self) -> "Viewed":
        if (self.table is None) == (self.conf is None):
            raise ValueError("name either the view's `table` or the `conf` that offers it")
        return self


def _in_short(view: Any) -> Any:
    return {"conf" if view.endswith((".yaml", ".yml")) else "table": view} if isinstance(view, str) else view


Views = list[Annotated[Viewed, BeforeValidator(_in_short)]]


class Described(NamedTuple):
    """What a view's table says of itself. `ttl` in microseconds; `digest` names what its values are."""

    entity: list[str]
    time: str
    known: str | None
    ttl: int | None
    features: list[str]
    digest: str
    owner: str = ""
    description: str = ""

    def to_json(self) -> str:
        """For a property of the table."""
        return json.dumps(self._asdict(), sort_keys=True)


def described(view: View, key: Sequence[str], time: str, windows: Sequence[str], definition: str, known: str | None) -> Described:
    """The view, with its defaults; `known`: the column that has the time at which all of a row was known."""
    entity = view.entity or [c for c in key if c != time]
    ttl = None if view.ttl is None else span(view.ttl).micros
    features = view.features or list(windows)
    values = digest([definition, entity, time, view.created, ttl, features])
    return Described(entity, time, known, ttl, features, values, view.owner, view.description)


def of(table: "Table") -> Described:
    """What the view says of itself (DataError where the table is none)."""
    said = table.properties().get(PROPERTY)
    if said is None:
        raise DataError(f"data.views: table `{table.name}` is no feature view; run `features` with a conf that has `view`")
    return Described(**json.loads(said))


def read(table: "Table", viewed: Viewed | None = None, version: int | None = None) -> Known:
    """The rows of a view, at a version, for `point_in_time.training_set` (DataError)."""
    viewed, said = viewed or Viewed(table=table.name), of(table)
    for name in viewed.entity:
        if name not in said.entity:
            where = f"data.views.{table.name}.entity"
            raise DataError(f"{where}: the view's entity has no column `{name}`{nearest(name, said.entity)}")
    entity = {c: viewed.entity.get(c, c) for c in said.entity}
    features = {c: c for c in said.features}
    return Known(table.name, table.read(version), entity, said.time, features, said.known, said.ttl, viewed.unknown)
