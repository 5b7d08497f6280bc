"""The options of CSV files: the section `data.csv` of a conf. The readers receive them unchanged, in `TextForm.csv`."""

import codecs
from typing import Literal

from pydantic import Field, field_validator, model_validator

from keyfold.core.section import Section
from keyfold.readers.casts import TextFormat

# Encodings whose canonical name differs from Python's.
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
_NO_TEXT = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "undefined", "mbcs", "oem")


def canonical_encoding(encoding: str) -> str:
    """The canonical name of a text encoding; raises ValueError if it is unknown."""
    try:
        codec = codecs.lookup(encoding)
    except LookupError:
        codec = None
    if codec is None or not codec._is_text_encoding or codec.name in _NO_TEXT:  # type: ignore[attr-defined]
        raise ValueError(f"must be an encoding that Python knows, such as utf-8 or windows-1252 (got `{encoding}`)")
    return CHARSETS.get(codec.name, codec.name)


class CsvOptions(Section):
    """The dialect of CSV files."""

    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=2,
        examples=[";"],
        description="Separator of fields, one or two ASCII characters. Default: a comma; a tab in .tsv and .tab files; "
        "or the character of a first line `sep=;`.",
    )
    encoding: str = Field("utf-8", examples=["windows-1252"], description="Encoding of the files, any text encoding of Python.")
    quote: str = Field('"', max_length=1, description="Quote character. Empty: fields are not quoted.")
    escape: str = Field(
        "", max_length=1, examples=["\\"],
        description="Character that escapes a quote or itself in quoted fields. Empty: a quote is escaped by doubling it.",
    )  # fmt: skip
    multi_line: bool = Field(False, description="Whether quoted fields may contain line breaks.")
    null_values: list[str] = Field(
        default_factory=list, examples=[["NA", "NULL"]], description="Unquoted words that mean NULL, besides an empty field."
    )
    decimal: Literal[".", ","] = Field(".", description="Decimal separator of numbers.")
    thousands: Literal["", ",", ".", " ", "'", "_"] = Field(
        "", description="Separator of thousands in numbers, as in 1,234,567. Empty: none."
    )

    @field_validator("quote", "escape", "delimiter")
    @classmethod
    def _no_break(cls, text: str | None) -> str | None:
        if text and (not text.isascii() or set(text) & {"\n", "\r", "\0"}):
            raise ValueError(f"must consist of ASCII characters other than line breaks (got {text!r})")
        return text

    _known = field_validator("encoding")(canonical_encoding)

    @model_validator(mode="after")
    def _characters_differ(self) -> "CsvOptions":
        if self.quote and self.quote in (self.delimiter or "") + self.escape:
            raise ValueError("delimiter, quote and escape must differ; without `escape`, a quote is escaped by doubling it")
        if self.decimal == "," == self.thousands:
            raise ValueError("decimal and thousands must differ")
        if self.escape and (not self.quote or self.escape in (self.delimiter or "")):
            raise ValueError("escape needs a `quote`, and must differ from the delimiter")
        return self

    def text_format(self, zone: str | None = None) -> TextFormat:
        """How the text of fields writes numbers and times; `zone`: that of times without an offset."""
        return TextFormat(self.decimal, self.thousands, zone)
