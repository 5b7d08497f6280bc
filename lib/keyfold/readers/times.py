"""Text as dates and times, as Spark's casts read it, without losing digits or assuming an offset."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Int64s
from keyfold.readers.arrow_values import bools
from keyfold.readers.zones import DAY, Zone, wall_offset, wall_offsets, zone_of

Characters = npt.NDArray[np.uint8]  # one row per character position, for texts of one length
Int32s = npt.NDArray[np.int32]

DATE, TIMESTAMP, TIMESTAMP_NTZ = pa.date32(), pa.timestamp("us", "UTC"), pa.timestamp("us")
_LINE_END = r"[\x{85}\x{2028}\x{2029}]?"  # before which `$` of Java matches, too
LOCAL = rf"^[0-9]{{4}}(-[0-9]{{1,2}}(-[0-9]{{1,2}}([T ][0-9:.]*)?)?)?{_LINE_END}$"  # a time without an offset
NANOSECONDS = r"[.][0-9]{6}[0-9]*[1-9]"
_LENGTHS = range(10, 33)
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0], np.int32)
_INT64 = range(-(2**63), 2**63)

_CLOCK = r"([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]*)([^0-9].*)?|([^0-9.].*))?)?)?"
_TIMESTAMP = re.compile(rf"([+-]?)([0-9]{{4,6}})(?:-([0-9]{{1,2}})(?:-([0-9]{{1,2}})(?:[ T]{_CLOCK})?)?)?", re.DOTALL)
_CLOCK_ONLY = re.compile(rf"(?:T|(?=[0-9]{{1,2}}:)){_CLOCK}", re.DOTALL)
_DAY = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")


class Times(NamedTuple):
    """Texts as times, each array of one length: microseconds of the clock, and those of the offset that the text has.

    `parsed`: the text is a time. `local`: it is written without an offset. `dated`: it begins with a year of four digits.
    `finer`: it has nanoseconds, which are cut off.
    """

    wall: Int64s
    offset: Int64s
    parsed: Bools
    local: Bools
    dated: Bools
    finer: Bools

    def instants(self, zone: Zone | None) -> Int64s:
        """Microseconds of UTC; times without an offset are of the zone, or of UTC."""
        instants = self.wall - self.offset
        if zone is not None:
            rows = np.flatnonzero(self.local & self.parsed)
            instants[rows] -= wall_offsets(zone, self.wall[rows])
        return instants

    def to_array(self, type_: str, zone: Zone | None) -> pa.Array:
        """Timestamps, NULL where the text is not one, or would lose digits or an offset."""
        good = self.parsed & self.dated & ~self.finer
        if type_ == "timestamp":
            return _array(self.instants(zone), good, TIMESTAMP)
        return _array(self.wall, good & self.local, TIMESTAMP_NTZ)


def _array(values: Int64s, good: Bools, type_: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int64(), mask=~good).view(type_) if not good.all() else pa.array(values, pa.int64()).view(type_)


def parse_times(text: pa.Array) -> Times:
    """Trimmed text as times; NULL is not a time."""
    n = len(text)
    wall, offset = np.zeros(n, np.int64), np.zeros(n, np.int64)
    parsed, local, dated, finer = (np.zeros(n, np.bool_) for _ in range(4))
    for rows, characters in _by_length(text, _LENGTHS):
        for part, times in _fixed_times(characters):
            into = rows[part]
            wall[into], offset[into], parsed[into] = times.wall, times.offset, times.parsed
            local[into], dated[into] = times.local & times.parsed, times.parsed
    if rest := np.flatnonzero(~parsed & bools(text.is_valid())).tolist():
        distinct = text.take(pa.array(rest)).dictionary_encode()
        times = _each_time(distinct.dictionary)
        indices = np.asarray(distinct.indices)
        wall[rest], offset[rest] = times.wall[indices], times.offset[indices]
        parsed[rest], local[rest] = times.parsed[indices], times.local[indices]
        dated[rest], finer[rest] = times.dated[indices], times.finer[indices]
    return Times(wall, offset, parsed, local, dated, finer)


def parse_date(text: pa.Array) -> pa.Array:
    """Trimmed text as dates."""
    days, good = np.zeros(len(text), np.int32), np.zeros(len(text), np.bool_)
    for rows, characters in _by_length(text, range(10, 11)):
        days[rows], good[rows] = _fixed_dates(characters)
    if rest := np.flatnonzero(~good & bools(text.is_valid())).tolist():
        distinct = text.take(pa.array(rest)).dictionary_encode()
        parsed_days = [_day(value) for value in distinct.dictionary.to_pylist()]
        indices = np.asarray(distinct.indices)
        good[rest] = np.array([day is not None for day in parsed_days])[indices]
        days[rest] = np.array([day or 0 for day in parsed_days], np.int32)[indices]
    return pa.array(days, DATE, mask=~good)


def _day(text: str) -> int | None:
    match = _DAY.fullmatch(text)
    return days_of(*map(int, match.groups())) if match else None


def days_of(year: int, month: int, day: int) -> int | None:
    """Days since 1970-01-01 in the Gregorian calendar, which also holds before it was introduced; None if there is no such day."""
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (1 <= month <= 12 and 1 <= day <= _MONTH_DAYS[month] + leap):
        return None
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _by_length(text: pa.Array, lengths: range) -> Iterator[tuple[Int64s, Characters]]:
    """Texts by length: their rows, and their characters by position."""
    offsets = (
        np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1]
        if len(text)
        else np.zeros(1, np.int32)
    )
    data = np.frombuffer(text.buffers()[2], np.uint8) if len(text) and text.buffers()[2] else np.zeros(0, np.uint8)
    sizes = np.diff(offsets)
    for length in np.flatnonzero(np.bincount(sizes[sizes < lengths.stop], minlength=1)).tolist():
        if length in lengths:
            rows = np.flatnonzero(sizes == length)
            places = offsets[rows]
            if len(rows) * length == places[-1] - places[0] + length:  # one after the other
                block = data[places[0] : places[0] + len(rows) * length].reshape(-1, length)
            else:
                block = data[places[:, None] + np.arange(length, dtype=np.int32)]
            yield rows, np.ascontiguousarray(block.T)


def _number(characters: Characters) -> tuple[Int32s, Bools]:
    """The number that digits write, and whether all are digits."""
    value, good = np.zeros(characters.shape[1], np.int32), np.ones(characters.shape[1], np.bool_)
    for digit in characters - np.uint8(ord("0")):
        value *= 10
        value += digit
        good &= digit <= 9
    return value, good


def _fixed_dates(characters: Characters) -> tuple[Int32s, Bools]:
    """Days of texts that begin with `yyyy-MM-dd`."""
    year, good = _number(characters[:4])
    month, good_month = _number(characters[5:7])
    day, good_day = _number(characters[8:10])
    good &= (
        good_month
        & good_day
        & (characters[4] == ord("-"))
        & (characters[7] == ord("-"))
        & (month >= 1)
        & (month <= 12)
        & (day >= 1)
    )
    leap = (month == 2) & (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    good &= day <= _MONTH_DAYS[month & 15] + leap
    year -= month <= 2
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    # The year is at least -1: a shift by 400 years keeps all numbers positive.
    year += 400
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - (719_468 + 146_097), good


def _fixed_times(characters: Characters) -> Iterator[tuple[Int64s, Times]]:
    """Times of texts of one length, in the forms that most have, with the rows that have each form."""
    length, n = characters.shape
    zulu = characters[-1] == ord("Z") if length >= 20 else np.zeros(n, np.bool_)
    signed = (
        np.isin(characters[-6], np.frombuffer(b"+-", np.uint8)) & (characters[-3] == ord(":"))
        if length >= 25
        else np.zeros(n, np.bool_)
    )
    for form, end in ((zulu, 1), (signed, 6), (~zulu & ~signed, 0)):
        rows = np.flatnonzero(form)
        if len(rows) and length - end in (10, 16, 19, *range(21, 27)) and (not end or length - end >= 19):
            selected = characters if len(rows) == n else characters[:, rows]
            wall, good = _fixed_clock(selected[: length - end])
            offset = np.zeros(len(rows), np.int64)
            if end == 6:
                offset, good_offset = _fixed_offset(selected[-6:])
                good &= good_offset
            none = np.zeros(len(rows), np.bool_)
            yield rows, Times(wall, offset, good, np.full(len(rows), end == 0), good, none)


def _fixed_clock(characters: Characters) -> tuple[Int64s, Bools]:
    days, good = _fixed_dates(characters)
    wall = days.astype(np.int64) * DAY
    length = len(characters)
    if length == 10:
        return wall, good
    hour, good_hour = _number(characters[11:13])
    minute, good_minute = _number(characters[14:16])
    good &= good_hour & good_minute & (hour < 24) & (minute < 60) & (characters[13] == ord(":"))
    good &= (characters[10] == ord(" ")) | (characters[10] == ord("T"))
    second = hour * 3600 + minute * 60
    if length > 16:
        more, good_second = _number(characters[17:19])
        good &= good_second & (more < 60) & (characters[16] == ord(":"))
        second += more
    wall += second.astype(np.int64) * 1_000_000
    if length > 19:
        fraction, good_fraction = _number(characters[20:])
        good &= good_fraction & (characters[19] == ord("."))
        wall += fraction.astype(np.int64) * 10 ** (26 - length)
    return wall, good


def _fixed_offset(characters: Characters) -> tuple[Int64s, Bools]:
    """Microseconds of `+HH:MM`."""
    hours, good = _number(characters[1:3])
    minutes, good_minutes = _number(characters[4:6])
    total = hours * 60 + minutes
    good &= good_minutes & (minutes < 60) & (total <= 18 * 60)
    return np.where(characters[0] == ord("-"), -total, total).astype(np.int64) * 60_000_000, good


def _each_time(texts: pa.Array) -> Times:
    times = [_time(text) for text in texts.to_pylist()]
    wall, offset = (np.array([time[i] if time else 0 for time in times], np.int64) for i in (0, 1))
    local, finer = (bools(pc.match_substring_regex(texts, pattern)) for pattern in (LOCAL, NANOSECONDS))
    dated = bools(pc.match_substring_regex(texts, rf"^[0-9]{{4}}(-|{_LINE_END}$)"))
    return Times(wall, offset, np.array([time is not None for time in times], np.bool_), local, dated, finer)


def _time(text: str) -> tuple[int, int] | None:
    """Microseconds of the clock, and of the offset that the text has; None if it is not a time. A text without a date is of 1970-01-01."""
    match = _TIMESTAMP.fullmatch(text)
    sign, year, month, day, *clock = (
        match.groups()
        if match
        else ("", "1970", "1", "1", *(clock_only.groups() if (clock_only := _CLOCK_ONLY.fullmatch(text)) else ()))
    )
    if not clock:
        return None
    hour, minute, second, fraction, *zones = clock
    days = days_of(int(sign + year), int(month or 1), int(day or 1))
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    if days is None or h > 23 or m > 59 or s > 59:
        return None
    wall = days * 86_400 + h * 3600 + m * 60 + s
    offset = 0
    if text_of_zone := zones[0] or zones[1]:
        zone = zone_of(text_of_zone.strip("".join(map(chr, range(33)))))
        if zone is None:
            return None
        offset = wall_offset(zone, wall)
    micros = int(((fraction or "") + "000000")[:6])
    wall, offset = wall * 1_000_000 + micros, offset * 1_000_000
    if wall - offset not in _INT64 or wall not in _INT64:
        return None
    return wall, offset
