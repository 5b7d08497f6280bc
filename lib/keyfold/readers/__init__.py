"""Readers of CSV and JSON lines: prove, then parse.

Records are a partition of the bytes. A regular expression proves which of them are sound, and only those reach a parser, guarded by a
count; all others are told with line, reason and raw text.
"""

from keyfold.readers.blocks import Head, head_of, parts
from keyfold.readers.form import Bad, Form, Part
from keyfold.readers.ranges import Range, planned, read_range

__all__ = ["Bad", "Form", "Head", "Part", "Range", "head_of", "parts", "planned", "read_range"]
