"""Feature views: tables of features by entity and time that say so themselves; `point_in_time` joins them."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from keyfold.conf.views import View, ViewSource
from keyfold.core.digests import digest
from keyfold.errors import DataError, suggestion
from keyfold.feature_store.point_in_time import ViewRows
from keyfold.features.kinds.windowed import parse_span

if TYPE_CHECKING:
    from keyfold.engine.tables import Table

VIEW_PROPERTY = "keyfold.view"


class ViewDescription(NamedTuple):
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


def describe_view(
    view: View, key: Sequence[str], time: str, windows: Sequence[str], definition: str, known: str | None
) -> ViewDescription:
    """The view, with its defaults; `known`: the column that has the time at which all of a row was known."""
    entity = view.entity or [c for c in key if c != time]
    ttl = None if view.ttl is None else parse_span(view.ttl).micros
    features = view.features or list(windows)
    values = digest([definition, entity, time, view.created, ttl, features])
    return ViewDescription(entity, time, known, ttl, features, values, view.owner, view.description)


def view_description(table: "Table") -> ViewDescription:
    """What the view says of itself (DataError where the table is none)."""
    said = table.properties().get(VIEW_PROPERTY)
    if said is None:
        raise DataError(f"data.views: table `{table.name}` is no feature view; run `features` with a conf that has `view`")
    return ViewDescription(**json.loads(said))


def read_view(table: "Table", viewed: ViewSource | None = None, version: int | None = None) -> ViewRows:
    """The rows of a view, at a version, for `point_in_time.training_set` (DataError)."""
    viewed, said = viewed or ViewSource(table=table.name), view_description(table)
    for name in viewed.entity:
        if name not in said.entity:
            where = f"data.views.{table.name}.entity"
            raise DataError(f"{where}: the view's entity has no column `{name}`{suggestion(name, said.entity)}")
    entity = {c: viewed.entity.get(c, c) for c in said.entity}
    features = {c: c for c in said.features}
    return ViewRows(table.name, table.read(version), entity, said.time, features, said.known, said.ttl, viewed.unknown)
