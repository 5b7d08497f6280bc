"""Rows of an older layout as rows of the current one: each column as its bridge says, in Catalyst."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from keyfold.conf.versions import BRIDGE_FUNCTIONS, LayoutVersion, Scalar
from keyfold.core import sql
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.ingestion import casts, sources

if TYPE_CHECKING:
    from pyspark.sql import Column

    from keyfold.conf.data import Data


class BridgedColumn(NamedTuple):
    """A column of the current schema as an older layout gives it, why a row cannot (or NULL), and the text that is a time."""

    value: "Column"
    reason: "Column"
    clock: "Column | None" = None


def bridge_column(data: "Data", version: LayoutVersion, name: str) -> BridgedColumn:
    """The column `name` of the current schema, over rows of the layout."""
    wanted = data.types[name]
    way, nothing = version.columns_from.get(name), F.lit(None).cast("string")
    if way is None or (way.renamed or way.cast) is not None:
        old = (way and (way.renamed or way.cast)) or name
        return _brought(data, col(old), version.types[old], wanted, f"`{old}`")
    if way.derived:
        ((function, columns),) = way.derived.items()
        types = [version.types[c] for c in columns]
        made = sql.column(BRIDGE_FUNCTIONS[function].make(name, [sql.column_reference(c) for c in columns], types))
        return _brought(data, made, BRIDGE_FUNCTIONS[function].type or types[0], wanted, f"{function} of {', '.join(columns)}")
    if way.mapped is not None:
        value, text = F.lit(None).cast(wanted), col(way.mapped).cast("string")
        for old, new in way.values.items():
            value = F.when(text == F.lit(old), _constant(data, new, wanted)).otherwise(value)
        odd = text.isNotNull() & ~text.isin(*way.values)
        said = f"`{way.mapped}` has a value that the map of `{name}` lacks"
        return BridgedColumn(value, nothing if way.missing else F.when(odd, F.lit(said)))
    return BridgedColumn(_constant(data, way.constant, wanted), nothing)


def _constant(data: "Data", value: Scalar | None, wanted: str) -> "Column":
    return casts.cast_text(F.lit(None if value is None else str(value)), wanted, casts.TextFormat(zone=data.zone))


def _brought(data: "Data", value: "Column", had: str, wanted: str, named: str) -> BridgedColumn:
    """Without loss: what is brought back must be what was there."""
    if had == wanted:
        return BridgedColumn(value, F.lit(None).cast("string"))
    there, clock = value.isNotNull(), None
    if had == "string" or (wanted == "timestamp" and had in ("date", "timestamp_ntz")):
        text = value.cast("string")
        made = casts.cast_text(text, wanted, sources.text_format(data.csv, data.zone))
        there, clock = there & (casts.trim(text) != ""), text if wanted == "timestamp" else None
    else:
        zoned = data.zone if had == "timestamp" else None
        made = (F.from_utc_timestamp(value, zoned) if zoned else value).try_cast(wanted)
        back = F.to_utc_timestamp(made.try_cast(had), zoned) if zoned else made.try_cast(had)
        made = F.when(back.eqNullSafe(value), made)
    return BridgedColumn(made, F.when(there & made.isNull(), F.lit(f"{named} cannot be brought to {wanted} without loss")), clock)


def lineage(data: "Data") -> tuple[list[str], list[list[str]]]:
    """Headers and rows: what each column of the table comes from, in each layout; and what of an older layout goes nowhere."""
    older = data.versions[:-1]
    cells = [
        [name, type_, *(v.columns_from[name].describe() if name in v.columns_from else "as it is" for v in older), "as it is"]
        for name, type_ in data.types.items()
    ]
    dropped = ["not taken", "", *(_not_taken(version, data.types) for version in older), ""]
    return ["column", "type", *(version.name for version in data.versions)], [*cells, dropped]


def _not_taken(version: LayoutVersion, current: Mapping[str, str]) -> str:
    taken = {c for way in version.columns_from.values() for c in way.takes} | (current.keys() - version.columns_from.keys())
    return ", ".join(c for c in version.columns if c not in taken)
