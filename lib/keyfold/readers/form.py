"""How text files are written, and what is read of them."""

from typing import Literal, NamedTuple

import pyarrow as pa

from keyfold.core.arrays import Int64s

BLOCK_BYTES = 8 << 20  # bytes that are read at once
LOOK = 1 << 16  # bytes in which quoting that spans lines is looked for where lines are rows
LONGEST = 256 << 20  # bytes of a record, at most


class TextForm(NamedTuple):
    """How a file is written; `names` are those of the CSV header, or the JSON keys that are wanted."""

    kind: Literal["csv", "json"] = "csv"
    names: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str = '"'  # empty: no quoting
    escape: str = ""  # before a quote, or before itself, within quotes
    multi_line: bool = False
    encoding: str = "utf-8"  # Python's name
    nulls: tuple[str, ...] = ()  # words that mean NULL where no quotes are around them

    @property
    def bytewise(self) -> bool:
        """Whether the delimiter is one byte, which RE2 and Arrow's CSV parser need."""
        return len(self.delimiter.encode()) == 1


class BadLine(NamedTuple):
    """A line that is no row: its number, why it is none, and its text."""

    line: int
    reason: str
    raw: str


class FilePart(NamedTuple):
    """Some of a file: rows as text with their line numbers, lines that are no rows, how many are blank, where it ends."""

    rows: pa.Table
    lines: Int64s
    bad: list[BadLine]
    blank: int
    stop: int  # the byte after it
    line: int  # the number of the line after it
