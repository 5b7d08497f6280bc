"""Casts of text to declared types, without loss: NULL if the text is not exactly of the type.

Times without an offset are of the zone that the conf declares, never of the machine's.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Int64s
from keyfold.errors import DataError
from keyfold.readers import numbers
from keyfold.readers.time_formats import iso_text
from keyfold.readers.times import DATE, LOCAL, TIMESTAMP, TIMESTAMP_NTZ, Times, parse_date, parse_times
from keyfold.readers.zones import DAY, Zone, changing_days, instant_offsets, wall_offsets, zone_of

# Columns of a row's times: an example without an offset; how many do not exist, or exist twice, in data.zone.
ZONELESS, SKIPPED, TWICE = "keyfold_zoneless", "keyfold_skipped", "keyfold_shown_twice"
_BLANKS = "".join(map(chr, [*range(33), 127]))  # that Spark's own casts trim
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


class TextFormat(NamedTuple):
    """How text writes values: the decimal mark, the separator of thousands, the zone of times without an offset."""

    decimal: str = "."
    thousands: str = ""
    zone: str | None = None


def trim(text: pa.Array) -> pa.Array:
    """Text without blanks and control characters around it."""
    return pc.ascii_trim(text, characters=_BLANKS)


def arrow_type(type_: str) -> pa.DataType:
    """The Arrow type of a declared type (DataError if text is not read as it)."""
    if match := _DECIMAL.fullmatch(type_):
        return pa.decimal128(int(match[1]), int(match[2]))
    simple = {"string": pa.string(), "binary": pa.binary(), "boolean": pa.bool_(), "date": DATE, "timestamp": TIMESTAMP}
    simple |= {"timestamp_ntz": TIMESTAMP_NTZ} | numbers.INTEGERS | numbers.REALS
    if type_ not in simple:
        raise DataError(f"text is not read as {type_}; declare another type in data.columns")
    return simple[type_]


class CastColumn(NamedTuple):
    """The values of a column of text, NULL where the text is not exactly of the type; the trimmed text, in ISO, and its times."""

    value: pa.Array
    text: pa.Array
    times: Times | None = None


def cast_column(raw: pa.Array, type_: str, form: str | None, format_: TextFormat) -> CastColumn:
    """Text as a type; of dates and times in a form of Java's DateTimeFormatter, if one is given."""
    if type_ == "string":
        return CastColumn(raw, raw)
    if format_[:2] == (".", "") and (value := numbers.cast_digits(raw, type_)) is not None:
        return CastColumn(value, raw)
    text = trim(raw)
    if form:
        text = iso_text(text, type_, form)
    if type_.startswith("timestamp"):
        times = parse_times(text)
        return CastColumn(times.to_array(type_, zone_named(format_.zone)), text, times)
    return CastColumn(parse_date(text) if type_ == "date" else _cast_plain(text, type_, format_), text)


def _cast_plain(text: pa.Array, type_: str, format_: TextFormat) -> pa.Array:
    if type_ == "boolean":
        return numbers.parse_boolean(text)
    plain = numbers.plain_number(text, format_.decimal, format_.thousands)
    if match := _DECIMAL.fullmatch(type_):
        return numbers.parse_decimal(plain, int(match[1]), int(match[2]))
    if type_ in numbers.INTEGERS:
        return numbers.parse_integer(plain, type_)
    return numbers.parse_real(plain, type_) if type_ in numbers.REALS else plain.cast(arrow_type(type_))


def zone_named(name: str | None) -> Zone | None:
    """The zone of data.zone (DataError if it is unknown)."""
    if name is None:
        return None
    if (zone := zone_of(name)) is None:
        raise DataError(f"data.zone: the time zone {name} is unknown")
    return zone


def why_not(label: str, text: pa.Array, type_: str, declared: str) -> pa.Array:
    """Why trimmed text of the column `label`, in ISO, is not of a type, which the conf writes as `declared`."""
    reasons = np.full(len(text), f"{label} is not {declared}", object)
    if type_.startswith("timestamp"):
        times = parse_times(text)
        if type_ == "timestamp_ntz":
            reasons[times.parsed & ~times.local] = f"{label} has an offset, and {declared} has none"
        reasons[times.parsed & times.finer] = f"{label} has nanoseconds, and a time holds microseconds"
    return pa.array(reasons, pa.string())


def fault_columns(zone: str | None) -> dict[str, str]:
    """Names and types of the columns of clock faults."""
    return {ZONELESS: "string"} if zone is None else {SKIPPED: "int", TWICE: "int"}


def clock_faults(columns: Mapping[str, CastColumn], zone: str | None) -> dict[str, pa.Array]:
    """Of a row's times: without a zone ZONELESS, an example that lacks an offset; with one the counts SKIPPED and TWICE."""
    if zone is None:
        return {ZONELESS: pc.coalesce(*(_zoneless(name, column.text) for name, column in columns.items()))}
    place = zone_named(zone)
    assert place is not None
    skipped, twice = zip(*(_faults(column.times, place) for column in columns.values() if column.times), strict=True)
    return {name: pa.array(np.sum(counts, axis=0, dtype=np.int32)) for name, counts in ((SKIPPED, skipped), (TWICE, twice))}


def _zoneless(name: str, text: pa.Array) -> pa.Array:
    example = pc.binary_join_element_wise(f"`{name}` has the time `", text, "`", "")
    return pc.if_else(pc.match_substring_regex(text, LOCAL), example, pa.scalar(None, pa.string()))


def _faults(times: Times, zone: Zone) -> tuple[Bools, Bools]:
    """Which local times do not exist in a zone, and which exist twice."""
    skipped, twice = np.zeros(len(times.wall), np.bool_), np.zeros(len(times.wall), np.bool_)
    rows = np.flatnonzero(times.local & times.parsed)
    rows = rows[changing_days(zone, times.wall[rows])]
    wall: Int64s = times.wall[rows]
    earlier = wall - wall_offsets(zone, wall)
    skipped[rows] = earlier + instant_offsets(zone, earlier) != wall
    later = wall - instant_offsets(zone, earlier + DAY)
    twice[rows] = (later > earlier) & (later + instant_offsets(zone, later) == wall)
    return skipped, twice
