"""How CSV files are written: the section `data.csv`."""

import codecs
from typing import Literal

from pydantic import Field, field_validator, model_validator

from keyfold.core.section import Section

# Encodings that have other names in confs than in Python.
CHARSETS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "iso8859-1": "iso-8859-1",
    "cp1252": "windows-1252",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "utf-32": "utf-32",
}
_NO_TEXT = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7", "undefined", "mbcs", "oem")


def canonical_encoding(encoding: str) -> str:
    """An encoding by the name that confs have for it (ValueError where there is none of text)."""
    try:
        found = codecs.lookup(encoding)
    except LookupError:
        found = None
    if found is None or not found._is_text_encoding or found.name in _NO_TEXT:  # type: ignore[attr-defined]
        raise ValueError(f"must be an encoding that Python knows, such as utf-8 or windows-1252 (got `{encoding}`)")
    return CHARSETS.get(found.name, found.name)


class CsvOptions(Section):
    """How CSV files are written."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=2, description="default: a comma; the tab of .tsv and .tab files; what a line `sep=;` says"
    )
    encoding: str = Field("utf-8", examples=["windows-1252"], description="any of Python's")
    quote: str = Field('"', max_length=1, description="empty: no quoting")
    escape: str = Field("", max_length=1, description="before a quote or before itself in quotes, where quotes are not doubled")
    multi_line: bool = Field(False, description="whether text in quotes may hold line breaks")
    null_values: list[str] = Field(
        default_factory=list, examples=[["NA", "NULL"]], description="words without quotes that mean NULL"
    )
    decimal: Literal[".", ","] = Field(".", description="what stands before the fraction of numbers, as in 1,5")
    thousands: Literal["", ",", ".", " ", "'", "_"] = Field("", description="what numbers are grouped with, as in 1,234,567")

    @field_validator("quote", "escape", "delimiter")
    @classmethod
    def _no_break(cls, text: str | None) -> str | None:
        if text and (not text.isascii() or set(text) & {"\n", "\r", "\0"}):
            raise ValueError(f"must be of ASCII characters, and no line break (got {text!r})")
        return text

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        return canonical_encoding(encoding)

    @model_validator(mode="after")
    def _apart(self) -> "CsvOptions":
        if self.quote and self.quote in (self.delimiter or "") + self.escape:
            raise ValueError("delimiter, quote and escape must differ; a quote in quotes is doubled without `escape`")
        if self.decimal == "," == self.thousands:
            raise ValueError("decimal and thousands must differ")
        if self.escape and (not self.quote or self.escape in (self.delimiter or "")):
            raise ValueError("escape needs a `quote`, and another character than the delimiter")
        return self
