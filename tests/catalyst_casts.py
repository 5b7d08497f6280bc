"""Casts by Spark's own expressions, with which those of keyfold's kernels are compared."""

import operator
from functools import reduce

from pyspark.sql import functions as F

from keyfold.readers.casts import SKIPPED, TWICE, ZONELESS, TextFormat
from keyfold.readers.time_formats import has_offset

_LOCAL = r"^\d{4}(-\d{1,2}(-\d{1,2}([T ][\d:.]*)?)?)?$"  # a time without an offset
_DATED = r"^\d{4}(-|$)"  # without it Spark reads `12:30` as a time of today
_NANOSECONDS = r"[.]\d{6}\d*[1-9]"
_DAY = r"^\d{4}-\d{1,2}-\d{1,2}$"
_BLANKS = "".join(map(chr, [*range(33), 127]))  # that Spark's own casts trim


def trim(text):
    """Text without blanks and control characters around it."""
    return F.btrim(text, F.lit(_BLANKS))


def iso_text(text, type_, form):
    """Dates and times of a form of Java's DateTimeFormatter, as ISO text; NULL if they do not match it."""
    at = F.try_to_timestamp(trim(text), F.lit(form))
    if type_ == "date":
        return F.date_format(at, "yyyy-MM-dd")
    return F.date_format(at, "yyyy-MM-dd HH:mm:ss.SSSSSS" + ("'Z'" if has_offset(form) else ""))


def cast_text(text, type_, format_=TextFormat()):  # noqa: B008
    """Text as a type; NULL if that would lose digits, an offset or anything else."""
    if type_ == "string":
        return text
    plain = trim(text)
    if type_ == "boolean":
        return plain.try_cast(type_)
    if type_ == "date":
        return F.when(plain.rlike(_DAY), plain).try_cast(type_)
    if type_.startswith("timestamp"):
        plain = F.when(plain.rlike(_DATED) & ~plain.rlike(_NANOSECONDS), plain)
        if type_ == "timestamp":
            return cast_timestamp(plain, format_.zone)
        return F.when(plain.rlike(_LOCAL), plain).try_cast(type_)
    plain = _plain_number(plain, format_)
    value = plain.try_cast(type_)
    if type_.startswith("decimal"):
        return F.when(_fits_scale(plain, int(type_[:-1].partition(",")[2])), value)
    return F.when(_is_double(plain, value), value) if type_ == "double" else value


def _fits_scale(number, scale):
    """Whether a decimal keeps all digits after the mark; Spark would round them."""
    digits = F.length(F.regexp_extract(number, r"[.](\d*?)0*[eE]", 1))
    exponent = F.regexp_extract(number, r"[eE][+]?(-?\d+)$", 1).try_cast("int")
    is_zero = number.rlike("^[^eE1-9]*[eE]")
    return F.when(number.rlike("[eE]"), (digits - exponent <= scale) | is_zero).otherwise(
        ~number.rlike(rf"[.]\d{{{scale}}}\d*[1-9]")
    )


def _is_double(number, value):
    """Whether text is a double within the range of doubles. Java also reads `5d` and `0x1p3`."""
    too_large = number.rlike(r"\d") & (F.abs(value) == float("inf"))
    too_small = (value == 0) & number.rlike(r"^[^eE]*[1-9]")
    return ~number.rlike(r"(?i)[\d.][df]$|x") & ~too_large & ~too_small


def why_not(label, text, type_, declared):
    """Why text of the column `label` is not of a type, which the conf writes as `declared`."""
    why = F.lit(f"{label} is not {declared}")
    if not type_.startswith("timestamp"):
        return why
    plain = trim(text)
    nanoseconds = F.lit(f"{label} has nanoseconds, and a time holds microseconds")
    reason = F.when(plain.try_cast("timestamp").isNull(), why).when(plain.rlike(_NANOSECONDS), nanoseconds)
    offset = ~plain.rlike(_LOCAL) & F.lit(type_ == "timestamp_ntz")
    return reason.when(offset, F.lit(f"{label} has an offset, and {declared} has none")).otherwise(why)


def _plain_number(text, format_):
    """A number as Spark writes it; NULL if groups are not of three digits, or the decimal mark differs."""
    thousands, decimal = format_.thousands, format_.decimal
    if thousands:
        fraction = "" if thousands == decimal else rf"([{decimal}]\d*)?"
        grouped = rf"^[+-]?\d{{1,3}}([{thousands}]\d{{3}})+{fraction}$"
        ungrouped = F.replace(text, F.lit(thousands), F.lit(""))
        text = F.when(text.rlike(grouped), ungrouped).when(~F.contains(text, F.lit(thousands)), text)
    if decimal == ".":
        return text
    return F.when(~F.contains(text, F.lit(".")), F.replace(text, F.lit(decimal), F.lit(".")))


def cast_timestamp(text, zone):
    """Trimmed text as a timestamp; NULL if it is not one.

    A time that exists twice in the zone is the earlier one; one that does not exist is moved forward by the gap.
    """
    at = text.try_cast("timestamp")
    return F.when(text.rlike(_LOCAL), F.to_utc_timestamp(at, zone)).otherwise(at) if zone else at


def is_skipped_time(text, zone):
    """Whether a time does not exist in the zone."""
    return text.rlike(_LOCAL) & (F.from_utc_timestamp(cast_timestamp(text, zone), zone) != text.try_cast("timestamp"))


def is_repeated_time(text, zone):
    """Whether a time exists twice in the zone."""
    wall, earlier = text.try_cast("timestamp"), cast_timestamp(text, zone)
    next_day = earlier + F.expr("INTERVAL 1 DAY")
    offset = F.unix_micros(F.from_utc_timestamp(next_day, zone)) - F.unix_micros(next_day)
    later = F.timestamp_micros(F.unix_micros(wall) - offset)
    return text.rlike(_LOCAL) & (later > earlier) & (F.from_utc_timestamp(later, zone) == wall)


def clock_faults(texts, zone):
    """Of a row's times as text: without a zone ZONELESS, an example that lacks an offset; with one the counts SKIPPED and TWICE."""
    if not texts:
        return {}
    plain = {name: trim(text) for name, text in texts.items()}
    if zone is None:
        examples = [F.when(t.rlike(_LOCAL), F.concat(F.lit(f"`{n}` has the time `"), t, F.lit("`"))) for n, t in plain.items()]
        return {ZONELESS: F.coalesce(*examples, F.lit(None))}
    counts = {SKIPPED: is_skipped_time, TWICE: is_repeated_time}
    return {name: _sum([is_fault(t, zone).cast("int") for t in plain.values()]) for name, is_fault in counts.items()}


def _sum(values):
    return reduce(operator.add, (F.coalesce(value, F.lit(0)) for value in values))


def convert(value, old, wanted, zone):
    """Values of a type that is no text as another type; NULL if the value cannot be had back."""
    zone = zone if old == "timestamp" else None
    cast = (F.from_utc_timestamp(value, zone) if zone else value).try_cast(wanted)
    back = F.to_utc_timestamp(cast.try_cast(old), zone) if zone else cast.try_cast(old)
    return F.when(back.eqNullSafe(value), cast)
