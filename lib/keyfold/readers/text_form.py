"""The form of a text file, and the rows and bad lines of its parts."""

import codecs
from typing import Literal, NamedTuple

import pyarrow as pa

from keyfold.core.arrays import Int64s
from keyfold.readers.csv_options import CsvOptions

BLOCK_BYTES = 8 << 20  # bytes per read
LOOK = 1 << 16  # bytes in which an unclosed quote may close on a later line
LONGEST = 256 << 20  # bytes per record, at most


class TextForm(NamedTuple):
    """The format of a file; `names` are the columns of the CSV header, or the JSON keys to read (none: all keys)."""

    kind: Literal["csv", "json"] = "csv"
    names: tuple[str, ...] = ()
    csv: CsvOptions = CsvOptions()
    default_delimiter: str = ","  # if the options name none; a first line `sep=;` replaces it
    given: tuple[str, ...] = ()  # columns from the names of folders; a JSON line with a value for one is bad

    @property
    def delimiter(self) -> str:
        """The separator of the fields of a CSV file."""
        return self.csv.delimiter or self.default_delimiter

    @property
    def encoding(self) -> str:
        """The encoding of the file, as Python's codecs name it."""
        return codecs.lookup(self.csv.encoding).name

    def with_options(self, **options: object) -> "TextForm":
        """The same form with other CSV options, which are not validated."""
        return self._replace(csv=self.csv.model_copy(update=options))

    @property
    def bytewise(self) -> bool:
        """Whether the delimiter is one byte, as RE2 and Arrow's CSV parser require."""
        return len(self.delimiter.encode()) == 1


class BadLine(NamedTuple):
    """A line that is not a row: its number, the reason, and its text."""

    line: int
    reason: str
    raw: str


class FilePart(NamedTuple):
    """A part of a file: rows as text with their line numbers, bad lines, the number of blank records, and where the part ends."""

    rows: pa.Table
    lines: Int64s
    bad: list[BadLine]
    blank: int
    stop: int  # the byte after the part
    line: int  # the number of the line after the part
