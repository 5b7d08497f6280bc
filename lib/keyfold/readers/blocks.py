"""Reads text files block by block: each record is a row, a bad line with a reason, or blank."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Int64s
from keyfold.errors import DataError, PromiseError
from keyfold.readers import csv_parsing, jsonlines
from keyfold.readers.csv_records import BLANK, FOLLOWS, RecordCut, cut_records, record_array, record_starts, skipped_records
from keyfold.readers.opening import ByteStream, kind_of, open_text
from keyfold.readers.text_form import BLOCK_BYTES, LONGEST, LOOK, BadLine, FilePart, TextForm

BOM = b"\xef\xbb\xbf"
END = 1 << 62
NUL = "a NUL byte"
_SEP = re.compile(rb'\s*"?sep=([^\r\n"])"?[ \t;,|]*(?:\r\n?|\n|\Z)', re.IGNORECASE)


class Head(NamedTuple):
    """The form of a file with its column names, the byte and line of its first record, and a skipped `sep=` line."""

    form: TextForm
    start: int = 0
    line: int = 1
    skipped: str = ""


def read_records(
    stream: ByteStream, path: str, form: TextForm, start: int = 0, end: int = END, line: int = 1
) -> Iterator[FilePart]:
    """Reads the records that begin in [start, end). The stream is at `start`, the first byte of a record in line `line`."""
    rest, at, more = b"", start, None
    while more != b"" and at < end:
        more = stream.read(max(min(BLOCK_BYTES, end - at + LOOK), len(rest)))
        data, eof = rest + more, not more
        if at == 0 and data.startswith(BOM):
            data, at = data[len(BOM) :], len(BOM)
        cut = cut_records(data, eof, form, line)
        ends = cut.ends[: 1 + int(np.searchsorted(cut.ends, end - at))]  # of records that begin before `end`
        if len(ends):
            lines = line + np.searchsorted(cut.breaks, record_starts(ends), side="right")
            rows, kept, bad, blank = _parse_records(data, cut._replace(ends=ends), form, lines)
            stop = int(ends[-1])
            at, line = at + stop, line + int(np.searchsorted(cut.breaks, stop, side="right"))
            yield FilePart(rows, kept, bad, blank, at, line)
            data = data[stop:]
        rest = data
        if len(rest) > LONGEST:
            hint = "a quote is not closed" if form.kind == "csv" and form.csv.multi_line else "is it text?"
            raise DataError(f"{path}: the record that begins in line {line:,} is longer than {LONGEST:,} bytes ({hint})")


def read_parts(path: str, head: Head, content: bytes | None = None) -> Iterator[FilePart]:
    """Reads all records after the head of a file."""
    with open_text(path, head.form.encoding, content, head.start) as stream:
        yield from read_records(stream, path, head.form, head.start, END, head.line)


def read_head(path: str, form: TextForm, content: bytes | None = None) -> Head:
    """Reads the CSV header and a `sep=` line before it, which gives the delimiter unless `form.csv` does.

    DataError if the file is not text, has no valid header, or holds JSON objects over several lines.
    """
    with open_text(path, form.encoding, content) as stream:
        data = stream.read(LOOK)
        if kind := kind_of(data):
            raise DataError(f"{path} is {kind}, not text")
        if form.kind == "json":
            return _json_head(path, form, data)
        return _csv_head(path, form, data, stream)


def _json_head(path: str, form: TextForm, data: bytes) -> Head:
    first = data.removeprefix(BOM).lstrip().split(b"\n")[0].strip()
    if first in (b"[", b"{", b"[{"):
        raise DataError(f"{path} is JSON over several lines; write one object per line, for example with `jq -c '.[]'`")
    return Head(form)


def _csv_head(path: str, form: TextForm, data: bytes, stream: ByteStream) -> Head:
    at, line, skipped = len(BOM) if data.startswith(BOM) else 0, 1, ""
    if sep := _SEP.match(data, at):
        skipped, at, line = sep[0].decode("utf-8", "replace").strip(), sep.end(), 1 + count_lines(sep[0])
        form = form._replace(default_delimiter=sep[1].decode()) if sep[1].isascii() else form
    while True:
        more = stream.read(LOOK)
        cut = cut_records(data[at:], not more, form._replace(names=()), line)
        firsts = record_starts(cut.ends).tolist() if len(cut.ends) else []
        for i, (first, end) in enumerate(zip(firsts, cut.ends.tolist(), strict=True)):
            record = data[at + first : at + end]
            if record.strip(BLANK):
                number = line + int(np.searchsorted(cut.breaks, first, side="right"))
                names = _names(path, record, cut.why.get(i), form, number)
                after = line + int(np.searchsorted(cut.breaks, end, side="right"))
                return Head(form._replace(names=names), at + end, after, skipped)
        if not more or len(data) > BLOCK_BYTES:
            raise DataError(f"{path} is empty: it has no header" if not more else f"{path}: the header has no end")
        data += more


def _names(path: str, record: bytes, why: str | None, form: TextForm, line: int) -> tuple[str, ...]:
    if why:
        raise DataError(f"{path}: the header in line {line} has broken quoting: {why}")
    if b"\0" in record:
        raise DataError(f"{path}: the header has NUL bytes; is it UTF-16? Then set data.csv.encoding to utf-16")
    try:
        record.decode()
    except UnicodeDecodeError:
        name = "utf-16" if record.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8" if form.encoding == "ascii" else None
        advice = f"set data.csv.encoding to {name}" if name else ENCODING_ADVICE
        header = record.decode("utf-8", "replace").strip("\r\n")
        column = next((part for part in header.split(form.delimiter) if "\ufffd" in part), header)
        raise DataError(f"{path}: the header's column `{column}` is not {form.encoding.upper()}; {advice}") from None
    return tuple(name or "" for name in csv_parsing.fields_of(record, form.with_options(null_values=[])))


ENCODING_ADVICE = "set data.csv.encoding to windows-1252 (or iso-8859-1) if the file comes from Windows, or convert it to UTF-8"


def count_lines(data: bytes) -> int:
    r"""The number of line breaks: \n, \r or \r\n."""
    returns = data.count(b"\r")
    return data.count(b"\n") + returns - (data.count(b"\r\n") if returns else 0)


def _parse_records(data: bytes, cut: RecordCut, form: TextForm, lines: Int64s) -> tuple[pa.Table, Int64s, list[BadLine], int]:
    """The rows of a block, their line numbers, its bad lines, and the number of blank records."""
    ends, first = cut.ends, record_starts(cut.ends)
    why = {i: reason for i, reason in cut.why.items() if i < len(ends)}
    blank = [i for i in skipped_records(data, ends, form) if i not in why]
    records = record_array(data, ends)
    why |= _not_text(data, records, ends, form)
    good = np.ones(len(ends), bool)
    good[blank], good[[*why]] = False, False
    places = np.flatnonzero(good)
    rows_of = csv_parsing.csv_rows if form.kind == "csv" else jsonlines.json_rows
    rows, odd = rows_of(records if good.all() else records.filter(pa.array(good)), form)
    why |= {int(places[i]): reason for i, reason in odd.items()}
    if rows.num_columns and rows.num_rows + len(why) + len(blank) != len(ends):
        counts = f"{rows.num_rows:,} rows, {len(why):,} bad and {len(blank):,} blank records"
        raise PromiseError(f"{len(ends):,} records became {counts}; please report this")
    kept = lines[np.delete(places, [*odd])] if odd else lines[places]
    bad = [bad for i in sorted(why) for bad in _bad_lines(int(lines[i]), why[i], data[first[i] : ends[i]], form)]
    return rows, kept, bad, len(blank)


def _not_text(data: bytes, records: pa.Array, ends: Int64s, form: TextForm) -> dict[int, str]:
    """Why records are not text: bytes outside the encoding, or a NUL byte."""
    why: dict[int, str] = {}
    try:
        records.cast(pa.large_string())
    except pa.ArrowInvalid:
        for i, (a, b) in enumerate(zip(record_starts(ends).tolist(), ends.tolist(), strict=True)):
            try:
                data[a:b].decode()
            except UnicodeDecodeError:
                why[i] = f"the line is not {form.encoding.upper()}"
    if form.kind == "csv" and b"\0" in data:
        nul = np.searchsorted(ends, np.flatnonzero(np.frombuffer(data, np.uint8) == 0), side="right")
        why |= {int(i): NUL for i in np.unique(nul) if i < len(ends) and int(i) not in why}
    return why


def _bad_lines(line: int, reason: str, record: bytes, form: TextForm) -> Iterator[BadLine]:
    """The lines of a bad record."""
    texts = re.split(b"\r\n?|\n", record.rstrip(b"\r\n")) if form.csv.multi_line else [record.rstrip(b"\r\n")]
    for i, text in enumerate(texts):
        yield BadLine(line + i, FOLLOWS if i else reason, _raw_text(text, form.encoding))


def _raw_text(record: bytes, encoding: str) -> str:
    r"""The text of a record; bytes outside the encoding are written as `\x…`."""
    if encoding == "utf-8":
        return record.decode("utf-8", "backslashreplace")
    text = record.decode("utf-8", "surrogatepass").encode("utf-8", "backslashreplace").decode()
    return re.sub(r"\\udc([89a-f][0-9a-f])", r"\\x\1", text)
