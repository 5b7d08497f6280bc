"""Time zones: their ids as Java reads them, and offsets of local times and of instants.

The rules are those of the package tzdata, so that they do not depend on the machine.
"""

import datetime as dt
import re
from collections.abc import Callable
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from keyfold.core.arrays import Bools, Int64s

DAY = 86_400_000_000  # microseconds
_SECOND = 1_000_000
Zone = ZoneInfo | int  # or an offset in seconds

# Java's ZoneId.SHORT_IDS.
_SHORT = {
    "ACT": "Australia/Darwin", "AET": "Australia/Sydney", "AGT": "America/Argentina/Buenos_Aires", "ART": "Africa/Cairo",
    "AST": "America/Anchorage", "BET": "America/Sao_Paulo", "BST": "Asia/Dhaka", "CAT": "Africa/Harare", "CNT": "America/St_Johns",
    "CST": "America/Chicago", "CTT": "Asia/Shanghai", "EAT": "Africa/Addis_Ababa", "ECT": "Europe/Paris",
    "IET": "America/Indiana/Indianapolis", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo", "MIT": "Pacific/Apia", "NET": "Asia/Yerevan",
    "NST": "Pacific/Auckland", "PLT": "Asia/Karachi", "PNT": "America/Phoenix", "PRT": "America/Puerto_Rico",
    "PST": "America/Los_Angeles", "SST": "Pacific/Guadalcanal", "VST": "Asia/Ho_Chi_Minh", "EST": "-05:00", "MST": "-07:00", "HST": "-10:00",
}  # fmt: skip
_NOT_JAVA = {"Factory", "ROC", "localtime", "posixrules"}
_OFFSET = re.compile(r"([+-])(?:([0-9])|([0-9]{2})(?:([0-9]{2})([0-9]{2})?|:([0-9]{2})(?::([0-9]{2}))?)?)")
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a clock's time, of whatever zone
_FIRST, _LAST = -719_160 * 86_400, 2_932_894 * 86_400  # seconds of 0001-01-03 and 9999-12-29, the range of datetime


@lru_cache(10_000)
def zone_of(text: str) -> Zone | None:
    """The zone of an id or an offset, as Spark reads it; None if it is unknown."""
    text = re.sub(r"([+-])([0-9]):", r"\g<1>0\2:", text, count=1)
    text = re.sub(r"([+-][0-9]{2}):([0-9])\Z", r"\1:0\2", text, count=1)
    text = _SHORT.get(text, text)
    if text == "Z":
        return 0
    if text.startswith(("+", "-")):
        return _offset(text)
    prefix = re.match("UTC|GMT|UT", text)
    if prefix and text[prefix.end() :][:1] in ("", "+", "-"):
        rest = text[prefix.end() :]
        return _offset(rest) if rest else 0
    return _region(text)


def _offset(text: str) -> int | None:
    match = _OFFSET.fullmatch(text)
    if not match:
        return None
    sign, one, *two = match.groups()
    hours, minutes, seconds = (int(part or 0) for part in (one or two[0], two[1] or two[3], two[2] or two[4]))
    total = 3600 * hours + 60 * minutes + seconds
    return None if minutes > 59 or seconds > 59 or total > 18 * 3600 else total if sign == "+" else -total


def _region(text: str) -> ZoneInfo | None:
    return load_zone(text) if text in _names() and text not in _NOT_JAVA else None


@cache
def _names() -> set[str]:
    from importlib import resources

    return {*resources.files("tzdata").joinpath("zones").read_text("utf-8").split()}


@cache
def load_zone(name: str) -> ZoneInfo:
    """A zone by name, of the package tzdata."""
    from importlib import resources

    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as stream:
        return ZoneInfo.from_file(stream, key=name)


def wall_offset(zone: Zone, second: int) -> int:
    """Seconds that a local time is ahead of UTC: of the earlier, if it exists twice, and of before the gap, if it does not exist."""
    return zone if isinstance(zone, int) else _at_wall(zone, min(max(second, _FIRST), _LAST))


def _at_wall(zone: ZoneInfo, second: int, fold: int = 0) -> int:
    offset = zone.utcoffset((_EPOCH + dt.timedelta(seconds=second)).replace(fold=fold))
    assert offset is not None
    return offset.days * 86_400 + offset.seconds


def _at_instant(zone: ZoneInfo, second: int) -> int:
    local = zone.fromutc((_EPOCH + dt.timedelta(seconds=second)).replace(tzinfo=zone)).replace(tzinfo=None)
    return round((local - _EPOCH).total_seconds()) - second


def wall_offsets(zone: Zone, wall: Int64s) -> Int64s:
    """`wall_offset` of local times, all in microseconds."""
    return _offsets(zone, wall, _at_wall)


def instant_offsets(zone: Zone, instant: Int64s) -> Int64s:
    """The zone's offsets from UTC at instants, all in microseconds."""
    return _offsets(zone, instant, _at_instant)


def _offsets(zone: Zone, at: Int64s, of: Callable[[ZoneInfo, int], int]) -> Int64s:
    if isinstance(zone, int) or not len(at):
        return np.full(len(at), zone * _SECOND if isinstance(zone, int) else 0)
    days, where = _distinct(at // DAY)
    of_day = [_steady_offset(zone, day) for day in days.tolist()]
    offsets = np.array([offset or 0 for offset in of_day], np.int64)[where]
    changing = np.array([offset is None for offset in of_day])[where]
    if changing.any():
        seconds, place = np.unique(np.clip(at[changing] // _SECOND, _FIRST, _LAST), return_inverse=True)
        offsets[changing] = np.array([of(zone, second) for second in seconds.tolist()], np.int64)[place]
    return offsets * _SECOND


def changing_days(zone: Zone, at: Int64s) -> Bools:
    """Which times are so near to a change of the zone's offset that they may be skipped, or exist twice."""
    if isinstance(zone, int):
        return np.zeros(len(at), np.bool_)
    days, where = _distinct(at // DAY)
    return np.array([_steady_offset(zone, day) is None for day in days.tolist()], np.bool_)[where]


def _distinct(days: Int64s) -> tuple[Int64s, Int64s]:
    """The distinct days, and the index of each day among them."""
    low = int(days.min(initial=0))
    span = int(days.max(initial=0)) - low + 1
    if span > 4 * len(days) + 100_000:
        return np.unique(days, return_inverse=True)
    present = np.zeros(span, np.bool_)
    present[days - low] = True
    return np.flatnonzero(present) + low, (np.cumsum(present) - 1)[days - low]


@lru_cache(100_000)
def _steady_offset(zone: ZoneInfo, day: int) -> int | None:
    """The offset in seconds of a day, if it is the same two days before and after, else None."""
    first = min(max(day * 86_400, _FIRST + 172_800), _LAST - 259_200)
    offset = _at_wall(zone, first)
    hours = range(first - 172_800, first + 259_201, 21_600)
    return offset if all(_at_wall(zone, h, fold) == offset for h in hours for fold in (0, 1)) else None
