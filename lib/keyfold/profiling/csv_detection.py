"""Finds the form of CSV files: encoding, delimiter, line breaks in quotes, escapes and words for NULL."""

import re
from collections.abc import Iterator
from itertools import islice, product

import numpy as np
import pyarrow as pa

from keyfold.errors import ConfError, DataError
from keyfold.profiling.column_profile import null_words
from keyfold.readers.blocks import Head, read_head, read_parts
from keyfold.readers.csv_options import CsvOptions, canonical_encoding
from keyfold.readers.opening import open_text
from keyfold.readers.text_form import FilePart, TextForm


def encoding_of(option: str) -> str:
    """The canonical name of the encoding in the option --encoding (ConfError if it is unknown)."""
    try:
        return canonical_encoding(option)
    except ValueError as error:
        raise ConfError(f"--encoding {error}") from None


def detect_form(file: str, options: CsvOptions, default_delimiter: str) -> Head:
    """The form of a CSV file as the conf will describe it, with no names, and the head of the file.

    options: the encoding, and whether quoted text may have line breaks. default_delimiter: a tab allows no other delimiter.
    Raises DataError if the file has no header in any form.
    """
    head = _likeliest_head(file, options, "\t" if default_delimiter == "\t" else ",\t;|")
    first = _first_part(file, head)
    if any('\\"' in bad.raw for bad in first.bad):
        escaped = head._replace(form=head.form.with_options(escape="\\"))
        other = _first_part(file, escaped)
        if len(other.bad) < len(first.bad):
            head, first = escaped, other
    words = null_words(first.rows)
    if words:
        in_quotes = null_words(_first_part(file, head._replace(form=head.form.with_options(null_values=words))).rows)
        words = [word for word in words if word not in in_quotes]
    delimiter = None if head.form.delimiter == "," else head.form.delimiter
    return head._replace(form=head.form.with_options(delimiter=delimiter, null_values=words)._replace(names=()))


def _likeliest_head(file: str, options: CsvOptions, delimiters: str) -> Head:
    """The header, read with the delimiter that yields the most names."""
    heads, failed = [], None
    for delimiter, multi_line in product(delimiters, dict.fromkeys((options.multi_line, True))):
        form = TextForm(csv=options, default_delimiter=delimiter).with_options(multi_line=multi_line)
        try:
            heads.append(read_head(file, form))
        except DataError as error:
            failed = failed or error
    if failed and not heads:
        raise DataError(encoding_fault(file, options.encoding) or str(failed)) from failed
    return max(heads, key=lambda head: len(head.form.names))


def _first_part(file: str, head: Head) -> FilePart:
    return next(read_parts(file, head), FilePart(pa.table({}), np.zeros(0, np.int64), [], 0, 0, 0))


# € and typographic quotes of Windows-1252, which Latin-1 lacks.
_ONLY_WINDOWS = re.compile(rb"[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")


def encoding_fault(path: str, encoding: str) -> str | None:
    """A message about the first line that is not text in this encoding; None if all lines are."""
    lines = iter(()) if encoding.startswith(("utf-16", "utf-32")) else _lines(path)
    for number, line in enumerate(lines, 1):
        try:
            line.decode(encoding)
        except UnicodeDecodeError as error:
            fault = f"{path}, line {number} is not {encoding.upper()} (byte {line[error.start]:#04x})"
            if not _ONLY_WINDOWS.search(line + b"".join(islice(lines, 1_000))):
                return f"{fault}; save the file as UTF-8 or name its encoding, as in `--encoding windows-1252`"
            return f"{fault}; it looks like Windows-1252, in which {_shown(line)}: try `--encoding windows-1252`"
    return None


def _lines(path: str) -> Iterator[bytes]:
    with open_text(path, "utf-8") as stream:
        rest = b""
        while more := stream.read(1 << 20):
            *lines, rest = (rest + more).split(b"\n")
            yield from lines
        yield rest


def _shown(line: bytes) -> str:
    at = re.search(rb"\S*[\x80-\xff]\S*", line)
    return f"this is `{at[0].decode('cp1252', 'replace'):.40}`" if at else "it is text"
