"""What a conf declares of columns: their types, how dates are written, and under which names they stand in the files."""

import re
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field, field_validator

from keyfold.core.section import Section
from keyfold.errors import DataError, suggestion

TYPES = r"^(string|bigint|int|double|boolean|date|timestamp|timestamp_ntz|decimal\(\d{1,2},\d{1,2}\))$"
_KNOWN = ("string", "bigint", "int", "double", "boolean", "date", "timestamp", "timestamp_ntz", "decimal(10,2)")
_FORM = re.compile(r"(date|timestamp|timestamp_ntz)\((.+)\)")
# Of Java's DateTimeFormatter, what dates and times in files are written with.
_PARTS = re.compile(r"(yyyy|yy|MMMM|MMM|MM|M|dd|d|HH|H|hh|h|mm|m|ss|s|S{1,6}|a|XXX|XX|X|xxx|xx|x|Z|'[^']+'|[^A-Za-z'\[\]{}#]+)+")


class RenamedColumn(Section):
    """A column that has another name in the files."""

    origin: str = Field(alias="from", min_length=1, description="its name in the files")
    type: str

    @field_validator("type")
    @classmethod
    def _known(cls, type_: str) -> str:
        return known_type(type_)


Columns = Mapping[str, str | RenamedColumn]


class DeclaredColumn(NamedTuple):
    """A column: Spark's type, the form of its dates or times where the conf gives one, its name in the files, and as the conf says it."""

    type: str
    form: str | None
    name: str
    said: str


def declared_columns(columns: Columns) -> dict[str, DeclaredColumn]:
    """All that is declared, by the column's name in the table."""
    return {name: _one(name, said) for name, said in columns.items()}


def origins(wanted: Mapping[str, DeclaredColumn]) -> dict[str, str]:
    """The names in the table of columns that have another in the files, by that one."""
    return {column.name: name for name, column in wanted.items() if column.name != name}


def is_own(name: str) -> bool:
    """Whether keyfold gives names like this one."""
    return name.casefold().startswith("keyfold_")


def check_names(place: str, there: Sequence[str], wanted: Mapping[str, DeclaredColumn]) -> None:
    """DataError where a column has a name that is keyfold's own, or would have that of another one in the table."""
    renamed = origins(wanted)
    for name in there:
        if is_own(name) and name not in renamed:
            raise DataError(
                f"{place}: the column `{name}` has a name that keyfold itself gives; give it another: "
                f"data.columns: {{<name>: {{from: {name}, type: …}}}}"
            )
    for origin, name in renamed.items():
        if any(other.casefold() == name.casefold() for other in there if other != origin):
            raise DataError(f"data.columns.{name} is from `{origin}`, and {place} has a column `{name}`, too; take another name")


def check_folders(file: str, names: Sequence[str], given: Sequence[str]) -> None:
    """DataError where a file has a column that its folders name, too."""
    folded = {name.casefold() for name in given}
    if both := next((name for name in names if name.casefold() in folded), None):
        raise DataError(f"{file} has a column `{both}`, and so do the names of its folders; rename one")


def column_types(columns: Columns) -> dict[str, str]:
    """Spark's types."""
    return {name: found.type for name, found in declared_columns(columns).items()}


def _one(name: str, said: str | RenamedColumn) -> DeclaredColumn:
    text, origin = (said.type, said.origin) if isinstance(said, RenamedColumn) else (said, name)
    form = _FORM.fullmatch(text)
    return DeclaredColumn(form[1] if form else text, form[2] if form else None, origin, text)


def known_type(text: str) -> str:
    """A declared type (ValueError where there is none like it)."""
    form = _FORM.fullmatch(text)
    if not form and not re.match(TYPES, text):
        raise ValueError(f"has the type `{text}`, which is none of {', '.join(_KNOWN)}{suggestion(text, _KNOWN)}")
    if form and not _is_form(form[1], form[2]):
        written = "dd.MM.yyyy HH:mm:ss" if form[1] != "date" else "dd.MM.yyyy"
        offset = " (an offset is for `timestamp` alone)" if form[1] != "timestamp" and has_offset(form[2]) else ""
        raise ValueError(f"has the type `{text}`, whose form must be like {form[1]}({written}){offset}")
    return text


def _is_form(type_: str, form: str) -> bool:
    plain = re.sub("'[^']*'", "", form)
    whole = all(letter in plain for letter in "yMd")
    return bool(_PARTS.fullmatch(form)) and whole and not (type_ != "timestamp" and has_offset(form))


def checked_zone(zone: str | None) -> str | None:
    """The zone; ValueError where there is none of that name."""
    if zone and zone not in zoneinfo.available_timezones() and not re.fullmatch(r"[+-]\d\d:\d\d", zone):
        near = suggestion(zone, zoneinfo.available_timezones())
        raise ValueError(f"must be the name of a zone, such as Europe/Berlin, or an offset, such as +02:00 (got `{zone}`){near}")
    return zone


def has_offset(form: str) -> bool:
    """Whether a form of times gives their offset."""
    return bool(re.search("[XxZ]", re.sub("'[^']*'", "", form)))
