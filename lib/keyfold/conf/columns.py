"""Declared columns: their types, the format of their dates and times, and their names in the files."""

import re
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field, field_validator

from keyfold.core.section import Section
from keyfold.errors import DataError, suggestion
from keyfold.readers.time_formats import has_offset

TYPES = r"^(string|bigint|int|double|boolean|date|timestamp|timestamp_ntz|decimal\(\d{1,2},\d{1,2}\))$"
_EXAMPLES = ("string", "bigint", "int", "double", "boolean", "date", "timestamp", "timestamp_ntz", "decimal(10,2)")
_WITH_FORMAT = re.compile(r"(date|timestamp|timestamp_ntz)\((.+)\)")
# The letters of Java's DateTimeFormatter that a format may use.
_FORMAT = re.compile(r"(yyyy|yy|MMMM|MMM|MM|M|dd|d|HH|H|hh|h|mm|m|ss|s|S{1,6}|a|XXX|XX|X|xxx|xx|x|Z|'[^']+'|[^A-Za-z'\[\]{}#]+)+")


def known_type(text: str) -> str:
    """The declared type; raises ValueError if it is unknown."""
    match = _WITH_FORMAT.fullmatch(text)
    if not match and not re.match(TYPES, text):
        raise ValueError(f"has the type `{text}`, which is none of {', '.join(_EXAMPLES)}{suggestion(text, _EXAMPLES)}")
    if match and not _is_format(match[1], match[2]):
        example = "dd.MM.yyyy HH:mm:ss" if match[1] != "date" else "dd.MM.yyyy"
        offset = " (an offset is for `timestamp` alone)" if match[1] != "timestamp" and has_offset(match[2]) else ""
        raise ValueError(f"has the type `{text}`, whose format must be like {match[1]}({example}){offset}")
    return text


def _is_format(type_: str, text: str) -> bool:
    letters = re.sub("'[^']*'", "", text)
    is_whole_date = all(letter in letters for letter in "yMd")
    return bool(_FORMAT.fullmatch(text)) and is_whole_date and not (type_ != "timestamp" and has_offset(text))


class RenamedColumn(Section):
    """A column that has another name in the files."""

    origin: str = Field(alias="from", min_length=1, description="Name of the column in the files.", examples=["Customer ID"])
    type: str = Field(description="Type of the column, as in `data.columns`.", examples=["bigint"])

    _known = field_validator("type")(known_type)


Columns = Mapping[str, str | RenamedColumn]


class DeclaredColumn(NamedTuple):
    """A declared column: its Spark type, the format of its dates or times if the conf gives one, its name in the files, the type as written."""

    type: str
    format: str | None
    name: str
    declared: str


def declared_columns(columns: Columns) -> dict[str, DeclaredColumn]:
    """The declared columns by their name in the table."""
    return {name: _declared(name, column) for name, column in columns.items()}


def origins(declared: Mapping[str, DeclaredColumn]) -> dict[str, str]:
    """Names in the table by name in the files, of the columns whose names differ."""
    return {column.name: name for name, column in declared.items() if column.name != name}


def is_own(name: str) -> bool:
    """Whether a column name is reserved for keyfold."""
    return name.casefold().startswith("keyfold_")


def check_names(place: str, columns: Sequence[str], declared: Mapping[str, DeclaredColumn]) -> None:
    """Raises DataError if a column has a reserved name, or if renaming would give two columns one name."""
    renamed = origins(declared)
    for name in columns:
        if is_own(name) and name not in renamed:
            raise DataError(
                f"{place}: the column name `{name}` is reserved for keyfold; rename it: "
                f"data.columns: {{<name>: {{from: {name}, type: …}}}}"
            )
    for origin, name in renamed.items():
        if any(other.casefold() == name.casefold() for other in columns if other != origin):
            raise DataError(
                f"data.columns.{name} is from `{origin}`, but {place} also has a column `{name}`; choose another name"
            )


def check_folders(file: str, columns: Sequence[str], folder_columns: Sequence[str]) -> None:
    """Raises DataError if a column of the file is also named by its folders."""
    folded = {name.casefold() for name in folder_columns}
    if both := next((name for name in columns if name.casefold() in folded), None):
        raise DataError(f"{file} has a column `{both}`, and so do the names of its folders; rename one")


def column_types(columns: Columns) -> dict[str, str]:
    """Spark types by column."""
    return {name: column.type for name, column in declared_columns(columns).items()}


def _declared(name: str, column: str | RenamedColumn) -> DeclaredColumn:
    text, origin = (column.type, column.origin) if isinstance(column, RenamedColumn) else (column, name)
    match = _WITH_FORMAT.fullmatch(text)
    return DeclaredColumn(match[1] if match else text, match[2] if match else None, origin, text)


def checked_zone(zone: str | None) -> str | None:
    """The time zone; raises ValueError if it is unknown."""
    if zone and zone not in zoneinfo.available_timezones() and not re.fullmatch(r"[+-]\d\d:\d\d", zone):
        near = suggestion(zone, zoneinfo.available_timezones())
        raise ValueError(f"must be a time zone, such as Europe/Berlin, or an offset, such as +02:00 (got `{zone}`){near}")
    return zone
