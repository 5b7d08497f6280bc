"""Brings rows of an older layout to the current schema, column by column."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.versions import LayoutVersion, Scalar
from keyfold.core import hashing
from keyfold.core.arrays import Int64s
from keyfold.core.json_texts import row_jsons
from keyfold.core.names import RAW, REASON
from keyfold.core.texts import value_texts
from keyfold.core.types import ArrowValue, arrow_family
from keyfold.engine.frame import Computed
from keyfold.readers.arrow_values import bools
from keyfold.readers.casts import ZONELESS, CastColumn, TextFormat, arrow_type, cast_column, clock_faults, fault_columns, trim
from keyfold.readers.conversions import convert
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.typed_rows import raw_texts
from keyfold.readers.zones import DAY

if TYPE_CHECKING:
    from keyfold.conf.data import Data


class BridgedColumn(NamedTuple):
    """A current column from older rows: its values, why a row has none (or NULL), and the times that were parsed from text."""

    value: pa.Array
    reason: pa.Array
    times: CastColumn | None = None


@dataclass(frozen=True)
class Bridge:
    """From rows of a layout to the current columns, of these types by name.

    format: how older text writes values. needed: if given, only rows with a reason, or without a value in one of these current
    columns, need their raw text.
    """

    version: LayoutVersion
    types: Mapping[str, str]
    format: TextFormat
    needed: Sequence[str] | None = None

    @classmethod
    def to_current(cls, data: "Data", version: LayoutVersion, needed: Sequence[str] | None = None) -> "Bridge":
        """The bridge from a layout to the current schema."""
        return cls(version, data.types, (data.csv or CsvOptions()).text_format(data.zone), needed)

    def computed(self) -> Computed:
        """The current columns, REASON, RAW and the clock faults, from older rows with REASON, RAW and clock faults."""
        types = {**self.types, REASON: "string", RAW: "string", **fault_columns(self.format.zone)}
        return Computed({name: arrow_type(type_) for name, type_ in types.items()}, self._columns)

    def _columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        bridged = {name: self.column(batch, name) for name in self.types}
        reason = pc.coalesce(batch[REASON], *(column.reason for column in bridged.values()))
        times = {name: column.times for name, column in bridged.items() if column.times}
        values = {name: column.value for name, column in bridged.items()}
        return [*values.values(), reason, self._raw(batch, reason, values), *self._faults(batch, times)]

    def _raw(self, batch: pa.RecordBatch, reason: pa.Array, values: Mapping[str, pa.Array]) -> pa.Array:
        """The raw text, which rows of generators and Delta tables do not have yet."""
        if not batch[RAW].null_count:
            return batch[RAW]
        rows = batch.select([*self.version.columns])
        more = raw_texts(reason, values, self.needed, rows, lambda rows: row_jsons(rows, rows.schema.names, exact=True))
        return pc.coalesce(batch[RAW], more)

    def _faults(self, batch: pa.RecordBatch, times: Mapping[str, CastColumn]) -> list[pa.Array]:
        more = clock_faults(times, self.format.zone) if times else {}
        return [_merged(name, batch[name], more[name]) if more else batch[name] for name in fault_columns(self.format.zone)]

    def column(self, batch: pa.RecordBatch, name: str) -> BridgedColumn:
        """The column `name` of the current schema."""
        wanted, bridge = self.types[name], self.version.columns_from.get(name)
        if bridge is None or (bridge.renamed or bridge.cast) is not None:
            old = (bridge and (bridge.renamed or bridge.cast)) or name
            return self._cast(batch[old], wanted, f"`{old}`")
        if bridge.derived:
            ((function, columns),) = bridge.derived.items()
            value = _DERIVED[function](name, [batch[c] for c in columns])
            return self._cast(value, wanted, f"{function} of {', '.join(columns)}")
        nothing = pa.nulls(batch.num_rows, pa.string())
        if bridge.mapped is None:
            return BridgedColumn(self._constants([bridge.constant], wanted).take(pa.repeat(0, batch.num_rows)), nothing)
        texts = value_texts(batch[bridge.mapped])
        places = pc.index_in(texts, pa.array([*bridge.values], pa.string()))
        value = self._constants([*bridge.values.values()], wanted).take(places)
        lacking = pc.and_(texts.is_valid(), places.is_null())
        unmapped = pc.if_else(lacking, f"`{bridge.mapped}` has a value that the map of `{name}` lacks", nothing)
        return BridgedColumn(value, nothing if bridge.missing else unmapped)

    def _constants(self, values: Sequence[Scalar | None], wanted: str) -> pa.Array:
        texts = pa.array([None if value is None else str(value) for value in values], pa.string())
        return cast_column(texts, wanted, None, TextFormat(zone=self.format.zone)).value

    def _cast(self, values: pa.Array, wanted: str, label: str) -> BridgedColumn:
        """Values as the wanted type; NULL with a reason that names `label` if that would lose anything."""
        nothing = pa.nulls(len(values), pa.string())
        if values.type == arrow_type(wanted):
            return BridgedColumn(values, nothing)
        present, times = values.is_valid(), None
        family = arrow_family(values.type)
        if family == "string" or (wanted == "timestamp" and family in ("date", "timestamp_ntz")):
            text = value_texts(values)
            cast = cast_column(text, wanted, None, self.format)
            present, times, value = pc.and_(present, pc.not_equal(trim(text), "")), cast if cast.times else None, cast.value
        else:
            value = convert(values, wanted, self.format.zone)
        lost = pc.and_(pc.fill_null(present, False), value.is_null())
        return BridgedColumn(value, pc.if_else(lost, f"{label} cannot be cast to {wanted} without loss", nothing), times)


def _merged(name: str, faults: pa.Array, more: pa.Array) -> pa.Array:
    return pc.coalesce(faults, more) if name == ZONELESS else pc.add(faults.fill_null(0), more)


# --- functions of older columns: of the current column's name and the values ---


def _digest(name: str, columns: Sequence[pa.Array]) -> pa.Array:
    parts = [ArrowValue(array, arrow_family(array.type)).hash for array in columns]
    halves = [hashing.feature_hash(f"bridge:{name}:{half}", parts).view(np.uint64).tolist() for half in (0, 1)]
    known = np.any([bools(array.is_valid()) for array in columns], axis=0)
    texts = [f"{a:016x}{b:016x}" if some else None for a, b, some in zip(*halves, known, strict=True)]
    return pa.array(texts, pa.string())


def _join(_: str, columns: Sequence[pa.Array]) -> pa.Array:
    # Arrow's join that skips NULL leaves out rows of NULL alone.
    parts = [pc.binary_join_element_wise(" ", value_texts(array), "").fill_null("") for array in columns]
    text = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*parts, ""), 1)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _seconds(_: str, columns: Sequence[pa.Array]) -> pa.Array:
    (start, end), known = map(_micros, columns), pc.and_(*(array.is_valid() for array in columns))
    micros = end - start
    return pa.array(np.sign(micros) * (np.abs(micros) // 1_000_000), mask=~bools(known))


def _date(_: str, columns: Sequence[pa.Array]) -> pa.Array:
    days = _micros(columns[0]) // DAY
    return pa.array(days.astype(np.int32), mask=~bools(columns[0].is_valid())).cast(pa.date32())


def _micros(times: pa.Array) -> Int64s:
    """Dates or times as microseconds since 1970."""
    if pa.types.is_date(times.type):
        return times.cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64) * DAY
    return times.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(0).to_numpy()


_DERIVED: dict[str, Callable[[str, Sequence[pa.Array]], pa.Array]] = {
    "digest": _digest, "join": _join, "coalesce": lambda _, columns: pc.coalesce(*columns), "seconds": _seconds, "date": _date,
}  # fmt: skip


# --- the report ---


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
