"""Layouts of a Delta table: the rows that were appended from one version to another."""

from typing import Any

from keyfold.conf.versions import DeltaVersions, LayoutVersion
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Frame
from keyfold.engine.store import Store
from keyfold.errors import DataError
from keyfold.ingestion.sources import delta_source

_KEEP_ROWS = (
    "CREATE TABLE", "ADD COLUMN", "CHANGE COLUMN", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "UPGRADE PROTOCOL", "STREAMING UPDATE",
)  # fmt: skip


def pinned(engine: Engine, layout: LayoutVersion) -> list[Any]:
    """The table's id, and the first and last version of the layout (DataError if one between them is not an append)."""
    table = delta_source(engine, _versions_of(layout).path)
    return [table.version().id, [*_bounds(table.store, layout)]]


def appended_rows(engine: Engine, layout: LayoutVersion) -> Frame:
    """Rows of the data files that were added from the first version to the last, in the schema of the last (DataError)."""
    store = delta_source(engine, _versions_of(layout).path).store
    return store.appended(*_bounds(store, layout))


def _versions_of(layout: LayoutVersion) -> DeltaVersions:
    assert layout.delta is not None
    return layout.delta


def _bounds(store: Store, layout: LayoutVersion) -> tuple[int, int]:
    path, (first, *rest) = _versions_of(layout).path, _versions_of(layout).versions
    operations = store.operations()
    last = rest[0] if rest else operations[0].version
    for version, name, mode in operations:
        if first <= version <= last and version and mode != "Append" and not name.startswith(_KEEP_ROWS):
            raise DataError(
                f"data.versions: version {version} of the Delta table `{path}` is a {name}, not an append, so which of "
                f"its rows are of layout `{layout.name}` is unknown; choose versions around it"
            )
    return first, last
