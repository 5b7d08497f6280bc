"""Expressions that bring rows of an older layout to the current schema, column by column."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from keyfold.conf.versions import BRIDGE_FUNCTIONS, LayoutVersion, Scalar
from keyfold.core import sql
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.ingestion import casts
from keyfold.readers.casts import TextFormat
from keyfold.readers.csv_options import CsvOptions

if TYPE_CHECKING:
    from pyspark.sql import Column

    from keyfold.conf.data import Data


class BridgedColumn(NamedTuple):
    """A current column from an older row; by row, why there is no value (or NULL), and the text of a time that was parsed."""

    value: "Column"
    reason: "Column"
    time_text: "Column | None" = None


def bridge_column(data: "Data", version: LayoutVersion, name: str) -> BridgedColumn:
    """The column `name` of the current schema, over rows of the version's layout."""
    wanted, bridge = data.types[name], version.columns_from.get(name)
    if bridge is None or (bridge.renamed or bridge.cast) is not None:
        old = (bridge and (bridge.renamed or bridge.cast)) or name
        return cast_column(data, col(old), version.types[old], wanted, f"`{old}`")
    if bridge.derived:
        ((function, columns),) = bridge.derived.items()
        types = [version.types[c] for c in columns]
        value = sql.column(BRIDGE_FUNCTIONS[function].make(name, [sql.column_reference(c) for c in columns], types))
        type_ = BRIDGE_FUNCTIONS[function].type or types[0]
        return cast_column(data, value, type_, wanted, f"{function} of {', '.join(columns)}")
    nothing = F.lit(None).cast("string")
    if bridge.mapped is None:
        return BridgedColumn(_constant(data, bridge.constant, wanted), nothing)
    value, text = F.lit(None).cast(wanted), col(bridge.mapped).cast("string")
    for old, new in bridge.values.items():
        value = F.when(text == F.lit(old), _constant(data, new, wanted)).otherwise(value)
    unmapped = F.when(
        text.isNotNull() & ~text.isin(*bridge.values), F.lit(f"`{bridge.mapped}` has a value that the map of `{name}` lacks")
    )
    return BridgedColumn(value, nothing if bridge.missing else unmapped)


def _constant(data: "Data", value: Scalar | None, wanted: str) -> "Column":
    return casts.cast_text(F.lit(None if value is None else str(value)), wanted, TextFormat(zone=data.zone))


def cast_column(data: "Data", value: "Column", old: str, wanted: str, label: str) -> BridgedColumn:
    """A value of an `old` type as the wanted type; NULL with a reason that names `label` if the cast back differs."""
    if old == wanted:
        return BridgedColumn(value, F.lit(None).cast("string"))
    present, time_text = value.isNotNull(), None
    if old == "string" or (wanted == "timestamp" and old in ("date", "timestamp_ntz")):
        text = value.cast("string")
        cast = casts.cast_text(text, wanted, (data.csv or CsvOptions()).text_format(data.zone))
        present, time_text = present & (casts.trim(text) != ""), text if wanted == "timestamp" else None
    else:
        zone = data.zone if old == "timestamp" else None
        cast = (F.from_utc_timestamp(value, zone) if zone else value).try_cast(wanted)
        back = F.to_utc_timestamp(cast.try_cast(old), zone) if zone else cast.try_cast(old)
        cast = F.when(back.eqNullSafe(value), cast)
    reason = F.when(present & cast.isNull(), F.lit(f"{label} cannot be cast to {wanted} without loss"))
    return BridgedColumn(cast, reason, time_text)


def lineage(data: "Data") -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a table: the source of each column by layout, and the older columns that are not used."""
    older = data.versions[:-1]
    cells = [
        [name, type_, *(v.columns_from[name].describe() if name in v.columns_from else "as it is" for v in older), "as it is"]
        for name, type_ in data.types.items()
    ]
    unused = ["not taken", "", *(_unused(version, data.types) for version in older), ""]
    return ["column", "type", *(version.name for version in data.versions)], [*cells, unused]


def _unused(version: LayoutVersion, current: Mapping[str, str]) -> str:
    used = {c for bridge in version.columns_from.values() for c in bridge.takes} | (current.keys() - version.columns_from.keys())
    return ", ".join(c for c in version.columns if c not in used)
