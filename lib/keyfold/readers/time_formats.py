"""Dates and times in forms of Java's DateTimeFormatter, as Spark reads them, written as ISO text."""

import re
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.errors import DataError
from keyfold.readers.arrow_values import bools, convert_rest
from keyfold.readers.times import days_of, parse_times

Fields = dict[str, int]
Step = Callable[[str, int, Fields], int]  # reads text from a position into fields; returns the position after it, or -1

_PART = re.compile(r"y+|M+|d+|H+|h+|m+|s+|S+|a+|X+|x+|Z+|'[^']*'|[^A-Za-z']")
_MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
]  # fmt: skip
_WIDTH = {"yyyy": 4, "yy": 2, "MM": 2, "dd": 2, "HH": 2, "mm": 2, "ss": 2}
_OFFSETS = {"X": ("Z", "", False), "XX": ("Z", "", True), "XXX": ("Z", ":", True), "Z": ("+0000", "", True)}
_OFFSETS |= {"x": ("+00", "", False), "xx": ("+0000", "", True), "xxx": ("+00:00", ":", True)}
_INT64 = range(-(2**63), 2**63)
_MOST_YEARS = 999_999_999


class _Number(NamedTuple):
    """Digits of a field; `after` digits of the numbers that follow without anything between are left to them."""

    field: str
    least: int
    most: int
    after: int = 0

    @property
    def fixed(self) -> bool:
        return self.least == self.most


def has_offset(form: str) -> bool:
    """Whether a format of times includes a UTC offset."""
    return bool(re.search("[XxZ]", re.sub("'[^']*'", "", form)))


def iso_text(text: pa.Array, type_: str, form: str) -> pa.Array:
    """Trimmed dates and times of a form as ISO text; NULL if they do not match it (DataError for a form that is not read)."""
    done, convert = pa.nulls(len(text), pa.string()), partial(_iso, type_=type_, form=form)
    if proof := _proof(form):
        pattern, iso = proof
        fit = pc.match_substring_regex(text, pattern)
        plain = pc.replace_substring_regex(pc.if_else(fit, text, done), pattern, iso)
        plain = pc.replace_substring_regex(plain, r"\b([0-9])([-: .])", r"0\1\2")
        plain = pc.utf8_slice_codeunits(plain, 0, 26)
        good = pa.array(parse_times(plain).parsed)
        done = pc.if_else(good, pc.utf8_slice_codeunits(plain, 0, 10) if type_ == "date" else plain, done)
    return convert_rest(done, text, bools(pc.and_(text.is_valid(), done.is_null())), convert)


@cache
def _proof(form: str) -> tuple[str, str] | None:
    """A regular expression that matches most texts of a form, and their ISO form; None if the form has more than numbers."""
    pattern, groups, before = "", dict[str, str](), ""
    for part in _parts(form):
        letter = part[0]
        width = f"{{{_WIDTH[part]}}}" if part in _WIDTH else f"{{1,{len(part)}}}" if letter == "S" else "{1,2}"
        if part in _WIDTH or part in "dMHms" or letter == "S":
            kind = "fixed" if part in _WIDTH else "loose"
            if letter in groups or "loose" in (before, before and kind):
                return None
            groups[letter], before = ("20" if part == "yy" else "") + rf"\{len(groups) + 1}", kind
            pattern += f"([0-9]{width})"
        elif letter.isalpha() or any(map(str.isdigit, part)):
            return None
        else:
            pattern, before = pattern + re.sub(r"([^\w\s])", r"\\\1", part.strip("'"), flags=re.ASCII), ""
    iso = "{y}-{M}-{d} {H}:{m}:{s}.{S}000000".format(**(dict.fromkeys("Hms", "00") | {"S": ""} | groups))
    return f"^{pattern}$", iso


def _iso(text: str, type_: str, form: str) -> str | None:
    """The text in ISO; a year of more than four digits has a sign."""
    fields: Fields = {}
    at = 0
    for step in _steps(form):
        if (at := step(text, at, fields)) < 0:
            return None
    micros = _micros(fields) if at == len(text) else None
    return None if micros is None else _written(micros, type_, zulu=has_offset(form))


def _written(micros: int, type_: str, *, zulu: bool) -> str:
    days, clock = divmod(micros, 86_400_000_000)
    year, month, day = _date_of(days)
    sign = "+" if year > 9999 else "-" if year < 0 else ""
    date = f"{sign}{abs(year):04}-{month:02}-{day:02}"
    seconds, fraction = divmod(clock, 1_000_000)
    time = f" {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
    return date if type_ == "date" else date + time + ("Z" if zulu else "")


def _date_of(days: int) -> tuple[int, int, int]:
    """Year, month and day of days since 1970-01-01."""
    era, of_era = divmod(days + 719_468, 146_097)
    of_400 = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * of_400 + of_400 // 4 - of_400 // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)
    return of_400 + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def _micros(fields: Fields) -> int | None:
    """Microseconds of UTC; None if there is no such time."""
    if not all(low <= fields.get(name, low) <= high for name, low, high in _RANGES):
        return None
    days, hour = days_of(fields["y"], fields["M"], fields["d"]), _hour(fields)
    if days is None or hour is None or abs(fields["y"]) > _MOST_YEARS:
        return None
    seconds = days * 86_400 + hour * 3600 + fields.get("m", 0) * 60 + fields.get("s", 0) - fields.get("offset", 0)
    whole = min(max(seconds * 1_000_000, _INT64.start), _INT64.stop - 1)
    micros = whole + fields.get("S", 0) // 1000
    return micros if micros in _INT64 else None


_RANGES = (("H", 0, 23), ("h", 1, 12), ("m", 0, 59), ("s", 0, 59), ("offset", -18 * 3600, 18 * 3600))


def _hour(fields: Fields) -> int | None:
    """The hour of the day; None if fields contradict each other."""
    hour, half = fields.get("H"), fields.get("a")
    of_half = fields["h"] % 12 if "h" in fields else None
    if half is not None and of_half is not None:
        if hour not in (None, half * 12 + of_half):
            return None
        return half * 12 + of_half
    if hour is None:
        return of_half if of_half is not None else 12 if half == 1 else 0
    seconds, fraction = "s" in fields, "S" in fields
    is_clock = ("m" in fields or not (seconds or fraction)) and ("m" not in fields or seconds or not fraction)
    if is_clock and (half not in (None, hour // 12) or of_half not in (None, hour % 12)):
        return None
    return hour


@cache
def _steps(form: str) -> tuple[Step, ...]:
    """The steps that read a form (DataError for one that Java does not know)."""
    steps: list[_Number | Step] = []
    active: int | None = None  # the number that leaves digits to those behind it
    for part in _parts(form):
        number = _number(part)
        if number is None:
            steps.append(_other(part, form))
            active = None
        elif active is not None and number.fixed:
            base = steps[active]
            assert isinstance(base, _Number)
            steps[active] = base._replace(after=base.after + number.most)
            steps.append(number)
        else:
            steps.append(number)
            active = len(steps) - 1
    return tuple(partial(_read_number, step) if isinstance(step, _Number) else step for step in steps)


def _parts(form: str) -> list[str]:
    parts = _PART.findall(form)
    if "".join(parts) != form:
        raise DataError(f"the format `{form}` of data.columns is not one of Java's DateTimeFormatter")
    return parts


def _number(part: str) -> _Number | None:
    letter, n = part[0], len(part)
    if letter == "y" and n in range(2, 7):
        return _Number("y", n, 2 if n == 2 else 19)
    if letter in "MdHhms" and n <= 2:
        return _Number(letter, n, 2 if n == 2 else 19)
    return _Number("S", 1, 1) if part == "S" else None


def _other(part: str, form: str) -> Step:
    letter, n = part[0], len(part)
    if letter == "'" or not (letter.isascii() and letter.isalpha()):
        return partial(_read_literal, part.strip("'") or "'")
    if letter == "S" and n <= 9:
        return partial(_read_fraction, n)
    if part in ("MMM", "MMMM"):
        return partial(_read_word, "M", {name[: None if n == 4 else 3]: i for i, name in enumerate(_MONTHS, 1)})
    if part == "a":
        return partial(_read_word, "a", {"AM": 0, "PM": 1})
    if "Z" in part and n <= 3:
        part = "Z"
    if part in _OFFSETS:
        return partial(_read_offset, *_OFFSETS[part])
    raise DataError(f"the format `{form}` of data.columns has `{part}`, which Java's DateTimeFormatter does not know")


def _set(fields: Fields, field: str, value: int, at: int) -> int:
    return at if fields.setdefault(field, value) == value else -1


def _read_number(number: _Number, text: str, at: int, fields: Fields) -> int:
    if number.field == "S":
        return _read_fraction(1, text, at, fields)
    sign = text[at : at + 1]
    year = number.field == "y" and not number.fixed
    if (sign == "-" and not number.fixed) or (sign == "+" and year and number.least >= 4):
        at += 1
    elif sign in ("+", "-"):
        return -1
    end = _digits_end(text, at, number.most + number.after)
    if number.after:
        end = _digits_end(text, at, max(number.least, end - at - number.after))
    n = end - at
    if n < number.least or (sign != "-" and year and number.least >= 4 and (n > number.least) != (sign == "+")):
        return -1
    value = int(text[at:end])
    if sign == "-" and value == 0:
        return -1
    if value > _INT64.stop - 1:
        value, end = value // 10, end - 1
    value = -value if sign == "-" else value + 2000 * (number.field == "y" and number.fixed)
    return _set(fields, number.field, value, end)


def _digits_end(text: str, at: int, most: int) -> int:
    end = at
    while end < min(at + most, len(text)) and "0" <= text[end] <= "9":
        end += 1
    return end


def _read_fraction(most: int, text: str, at: int, fields: Fields) -> int:
    end = _digits_end(text, at, most)
    return _set(fields, "S", int(text[at:end].ljust(9, "0")), end) if end > at else -1


def _read_literal(literal: str, text: str, at: int, _: Fields) -> int:
    return at + len(literal) if _alike(text[at : at + len(literal)], literal) else -1


def _read_word(field: str, words: dict[str, int], text: str, at: int, fields: Fields) -> int:
    for word, value in words.items():
        if _alike(text[at : at + len(word)], word):
            return _set(fields, field, value, at + len(word))
    return -1


def _alike(text: str, wanted: str) -> bool:
    """Whether texts are equal but for the case of each character, as Java compares them."""
    return len(text) == len(wanted) and all(
        a == b or _upper(a) == _upper(b) or a.lower()[0] == b.lower()[0] for a, b in zip(text, wanted, strict=True)
    )


def _upper(character: str) -> str:
    return upper if len(upper := character.upper()) == 1 else character


def _read_offset(none: str, colon: str, minutes: bool, text: str, at: int, fields: Fields) -> int:
    if _alike(text[at : at + len(none)], none):
        return _set(fields, "offset", 0, at + len(none))
    match = re.compile(rf"([+-])([0-5][0-9])({colon}([0-5][0-9])){'' if minutes else '?'}").match(text, at)
    if not match or int(match[2]) > 23:
        return -1
    seconds = int(match[2]) * 3600 + int(match[4] or 0) * 60
    return _set(fields, "offset", -seconds if match[1] == "-" else seconds, match.end())
