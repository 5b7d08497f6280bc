"""Text as what the conf declares it to be: NULL where it is not just that.

Times without an offset are of the zone that the conf declares, never of the machine's.
"""

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from keyfold.conf.columns import has_offset
from keyfold.core.sql import col
from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

ZONELESS, SKIPPED, TWICE = "keyfold_zoneless", "keyfold_skipped", "keyfold_shown_twice"
LOCAL = r"^\d{4}(-\d{1,2}(-\d{1,2}([T ][\d:.]*)?)?)?$"
# Without this Spark takes `12:30` for today's.
_DATED = r"^\d{4}(-|$)"
_FINER = r"[.]\d{6}\d*[1-9]"  # than microseconds
_DAY = r"^\d{4}-\d{1,2}-\d{1,2}$"
_BLANKS = "".join(map(chr, [*range(33), 127]))  # what Spark's own casts leave out


def trim(text: "Column") -> "Column":
    """Text without the blanks around it, control characters among them."""
    return F.btrim(text, F.lit(_BLANKS))


class TextFormat(NamedTuple):
    """How text writes its values: the mark before a fraction, what groups of three digits are told apart by, the zone of times."""

    decimal: str = "."
    thousands: str = ""
    zone: str | None = None


def iso_text(text: "Column", type_: str, form: str) -> "Column":
    """Dates and times of a form, as ISO text; NULL where they are not of it."""
    at = F.try_to_timestamp(trim(text), F.lit(form))
    if type_ == "date":
        return F.date_format(at, "yyyy-MM-dd")
    return F.date_format(at, "yyyy-MM-dd HH:mm:ss.SSSSSS" + ("'Z'" if has_offset(form) else ""))


def cast_text(text: "Column", type_: str, how: TextFormat = TextFormat()) -> "Column":  # noqa: B008
    """Text as a type, without loss."""
    if type_ == "string":
        return text
    plain = trim(text)
    if type_.startswith(("date", "timestamp")):
        plain = F.when(plain.rlike(_DAY if type_ == "date" else _DATED), plain)
    if type_.startswith("timestamp"):
        plain = F.when(~plain.rlike(_FINER), plain)
    if type_ == "timestamp":
        return cast_timestamp(plain, how.zone)
    if type_ == "timestamp_ntz":
        plain = F.when(plain.rlike(LOCAL), plain)
    if type_ not in ("boolean", "date", "timestamp_ntz"):
        plain = _plain(plain, how)
    value = plain.try_cast(type_)
    if type_.startswith("decimal"):
        # A decimal with more digits than the type holds would be rounded without a word.
        scale = int(type_[:-1].partition(",")[2])
        digits = F.length(F.regexp_extract(plain, r"[.](\d*?)0*[eE]", 1))
        exponent = F.regexp_extract(plain, r"[eE][+]?(-?\d+)$", 1).try_cast("int")
        fits = (digits - exponent <= scale) | plain.rlike("^[^eE1-9]*[eE]")
        value = F.when(F.when(plain.rlike("[eE]"), fits).otherwise(~plain.rlike(rf"[.]\d{{{scale}}}\d*[1-9]")), value)
    if type_ == "double":
        # Java takes `5d` and `0x1p3` for numbers, and what is too large for infinite.
        large = plain.rlike(r"\d") & (F.abs(value) == float("inf"))
        small = (value == 0) & plain.rlike(r"^[^eE]*[1-9]")
        value = F.when(~plain.rlike(r"(?i)[\d.][df]$|x") & ~large & ~small, value)
    return value


def why_not(named: str, text: "Column", type_: str, said: str) -> "Column":
    """Why text, of a column that is named so, is not of a type."""
    why = F.lit(f"{named} is not {said}")
    if not type_.startswith("timestamp"):
        return why
    plain, finer = trim(text), F.lit(f"{named} has nanoseconds, and a time holds microseconds")
    found = F.when(plain.try_cast("timestamp").isNull(), why).when(plain.rlike(_FINER), finer)
    offset = ~plain.rlike(LOCAL) & F.lit(type_ == "timestamp_ntz")
    return found.when(offset, F.lit(f"{named} has an offset, and {said} has none")).otherwise(why)


def _plain(text: "Column", how: TextFormat) -> "Column":
    """A number as Spark writes it; NULL where groups are not of three digits, or another mark stands before the fraction."""
    thousands, decimal = how.thousands, how.decimal
    if thousands:
        fraction = "" if thousands == decimal else rf"([{decimal}]\d*)?"
        grouped = rf"^[+-]?\d{{1,3}}([{thousands}]\d{{3}})+{fraction}$"
        bare = F.replace(text, F.lit(thousands), F.lit(""))
        text = F.when(text.rlike(grouped), bare).when(~F.contains(text, F.lit(thousands)), text)
    if decimal == ".":
        return text
    return F.when(~F.contains(text, F.lit(".")), F.replace(text, F.lit(decimal), F.lit(".")))


def cast_timestamp(text: "Column", zone: str | None) -> "Column":
    """Trimmed text as a moment, NULL where it is none.

    What the zone's clock shows twice is the earlier of the two, what it skips is moved by the width of the gap.
    """
    at = text.try_cast("timestamp")
    return F.when(text.rlike(LOCAL), F.to_utc_timestamp(at, zone)).otherwise(at) if zone else at


def is_skipped_time(text: "Column", zone: str) -> "Column":
    """Whether the zone's clock never shows this time."""
    return text.rlike(LOCAL) & (F.from_utc_timestamp(cast_timestamp(text, zone), zone) != text.try_cast("timestamp"))


def is_repeated_time(text: "Column", zone: str) -> "Column":
    """Whether the zone's clock shows this time twice."""
    wall, found = text.try_cast("timestamp"), cast_timestamp(text, zone)
    later = found + F.expr("INTERVAL 1 DAY")
    offset = F.unix_micros(F.from_utc_timestamp(later, zone)) - F.unix_micros(later)
    other = F.timestamp_micros(F.unix_micros(wall) - offset)
    return text.rlike(LOCAL) & (other > found) & (F.from_utc_timestamp(other, zone) == wall)


def clock_faults(texts: "Mapping[str, Column]", zone: str | None) -> "dict[str, Column]":
    """Of a row's times as text: which there is without an offset though no zone is declared, how many are skipped or shown twice."""
    plain = {name: trim(text) for name, text in texts.items()}
    if not texts:
        return {}
    if zone is None:
        said = [F.when(t.rlike(LOCAL), F.concat(F.lit(f"`{n}` has the time `"), t, F.lit("`"))) for n, t in plain.items()]
        return {ZONELESS: F.coalesce(*said, F.lit(None))}
    counted = {SKIPPED: is_skipped_time, TWICE: is_repeated_time}
    return {name: _sum([how(t, zone).cast("int") for t in plain.values()]) for name, how in counted.items()}


def merge_clock_faults(there: Sequence[str], more: "Mapping[str, Column]") -> "dict[str, Column]":
    """What `clocks` found in columns that are there, and more of it."""
    found = {}
    for name in (ZONELESS, SKIPPED, TWICE):
        if parts := [*([col(name)] if name in there else []), *([more[name]] if name in more else [])]:
            found[name] = F.coalesce(*parts) if name == ZONELESS else _sum(parts)
    return found


def _sum(values: "Sequence[Column]") -> "Column":
    return reduce(operator.add, (F.coalesce(value, F.lit(0)) for value in values))
