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


def cast_text(text: pa.Array, type_: str, format_: TextFormat = TextFormat()) -> pa.Array:  # noqa: B008
    """Text as a type; NULL if that would lose digits, an offset or anything else."""
    if type_ == "string":
        return text
    plain = trim(text)
    if type_ == "boolean":
        return numbers.parse_boolean(plain)
    if type_ == "date":
        return parse_date(plain)
    if type_.startswith("timestamp"):
        return parse_times(plain).to_array(type_, zone_named(format_.zone))
    plain = numbers.plain_number(plain, format_.decimal, format_.thousands)
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
    """Why text of the column `label` is not of a type, which the conf writes as `declared`; for all rows, whether or not it is."""
    why = f"{label} is not {declared}"
    found = np.full(len(text), why, object)
    if type_.startswith("timestamp"):
        times = parse_times(trim(text))
        if type_ == "timestamp_ntz":
            found[times.parsed & ~times.local] = f"{label} has an offset, and {declared} has none"
        found[times.parsed & times.finer] = f"{label} has nanoseconds, and a time holds microseconds"
    return pa.array(found, pa.string())


def clock_faults(times: Mapping[str, pa.Array], zone: str | None) -> dict[str, pa.Array]:
    """Of a row's times as text: without a zone ZONELESS, an example that lacks an offset; with one the counts SKIPPED and TWICE."""
    if not times:
        return {}
    plain = {name: trim(text) for name, text in times.items()}
    if zone is None:
        nothing = pa.scalar(None, pa.string())
        examples = [
            pc.if_else(
                pc.match_substring_regex(t, LOCAL), pc.binary_join_element_wise(f"`{n}` has the time `", t, "`", ""), nothing
            )
            for n, t in plain.items()
        ]
        return {ZONELESS: pc.coalesce(*examples)}
    parsed, place = [parse_times(text) for text in plain.values()], zone_named(zone)
    assert place is not None
    skipped, twice = zip(*(_faults(found, place) for found in parsed), strict=True)
    return {name: pa.array(np.sum(some, axis=0, dtype=np.int32)) for name, some in ((SKIPPED, skipped), (TWICE, twice))}


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
