"""Feature views: tables of features by entity and time, described in a table property; `point_in_time` joins them."""

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
    """Description of a view, as its table keeps it.

    known: the column with the time at which all of a row was known; ttl: time to live in microseconds; digest: of the
    definition of its values.
    """

    entity: list[str]
    time: str
    known: str | None
    ttl: int | None
    features: list[str]
    digest: str
    owner: str = ""
    description: str = ""

    def to_json(self) -> str:
        """JSON for the table property."""
        return json.dumps(self._asdict(), sort_keys=True)


def describe_view(
    view: View, key: Sequence[str], time: str, windows: Sequence[str], definition: str, known: str | None
) -> ViewDescription:
    """The description of a conf's view, with defaults filled in.

    windows: names of the windowed features, the default of `view.features`; definition: digest of the windows.
    """
    entity = view.entity or [c for c in key if c != time]
    ttl = None if view.ttl is None else parse_span(view.ttl).micros
    features = view.features or list(windows)
    values = digest([definition, entity, time, view.created, ttl, features])
    return ViewDescription(entity, time, known, ttl, features, values, view.owner, view.description)


def view_description(table: "Table") -> ViewDescription:
    """The description that a table has (DataError if it has none)."""
    text = table.properties().get(VIEW_PROPERTY)
    if text is None:
        raise DataError(f"data.views: table `{table.name}` is not a feature view; run `features` with a conf that has `view`")
    return ViewDescription(**json.loads(text))


def read_view(table: "Table", source: ViewSource | None = None, version: int | None = None) -> ViewRows:
    """The rows of a view, at a version of its table, for `point_in_time.training_set` (DataError for an unknown entity column)."""
    source, view = source or ViewSource(table=table.name), view_description(table)
    for name in source.entity:
        if name not in view.entity:
            where = f"data.views.{table.name}.entity"
            raise DataError(f"{where}: the view's entity has no column `{name}`{suggestion(name, view.entity)}")
    entity = {c: source.entity.get(c, c) for c in view.entity}
    features = {c: c for c in view.features}
    return ViewRows(table.name, table.frame(version), entity, view.time, features, view.known, view.ttl, source.unknown)
