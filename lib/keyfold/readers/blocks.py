"""Reads text files block by block: each record is a row, a line that is told with its reason, or blank."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Int64s
from keyfold.errors import DataError, PromiseError
from keyfold.readers import delimited, jsonlines
from keyfold.readers.form import BLOCK_BYTES, LONGEST, LOOK, BadLine, FilePart, TextForm
from keyfold.readers.opening import ByteStream, kind_of, open_text
from keyfold.readers.records import FOLLOWS, RecordCut, cut_records, record_array, record_starts

BOM = b"\xef\xbb\xbf"
END = 1 << 62
NUL = "a NUL byte"
_BLANK = b" \t\r\n\x0b\x0c"
_SEP = re.compile(rb'\s*"?sep=([^\r\n"])"?[ \t;,|]*(?:\r\n?|\n|\Z)', re.IGNORECASE)


class Head(NamedTuple):
    """A file's form with its names, where its first record begins, and what was skipped before."""

    form: TextForm
    start: int = 0
    line: int = 1
    skipped: str = ""


def read_records(
    stream: ByteStream, path: str, form: TextForm, start: int = 0, end: int = END, line: int = 1
) -> Iterator[FilePart]:
    """The records that begin in a range of bytes, which begins where a record does; the stream stands there."""
    rest, at, more = b"", start, None
    while more != b"" and at < end:
        more = stream.read(max(min(BLOCK_BYTES, end - at + LOOK), len(rest)))
        data, eof = rest + more, not more
        if at == 0 and data.startswith(BOM):
            data, at = data[len(BOM) :], len(BOM)
        found = cut_records(data, eof, form, line)
        ends = found.ends[: 1 + int(np.searchsorted(found.ends, end - at))]  # those that begin before `end`
        if len(ends):
            lines = line + np.searchsorted(found.breaks, record_starts(ends), side="right")
            rows, kept, bad, blank = _parsed(data, found._replace(ends=ends), form, lines)
            stop = int(ends[-1])
            at, line = at + stop, line + int(np.searchsorted(found.breaks, stop, side="right"))
            yield FilePart(rows, kept, bad, blank, at, line)
            data = data[stop:]
        rest = data
        if len(rest) > LONGEST:
            what = "a quote is not closed" if form.kind == "csv" and form.multi_line else "is it text?"
            raise DataError(f"{path}: the record that begins in line {line:,} is longer than {LONGEST:,} bytes ({what})")


def read_parts(path: str, head: Head, content: bytes | None = None) -> Iterator[FilePart]:
    """All of a file after its head."""
    with open_text(path, head.form.encoding, content, head.start) as stream:
        yield from read_records(stream, path, head.form, head.start, END, head.line)


def read_head(path: str, form: TextForm, content: bytes | None = None, *, guess: bool = True) -> Head:
    """What a file begins with: the names of a CSV header, after a line `sep=` (DataError where there is none)."""
    with open_text(path, form.encoding, content) as stream:
        data = stream.read(LOOK)
        if what := kind_of(data):
            raise DataError(f"{path} is {what}, not text")
        if form.kind == "json":
            return _json_head(path, form, data)
        return _csv_head(path, form, data, stream, guess=guess)


def _json_head(path: str, form: TextForm, data: bytes) -> Head:
    first = data.removeprefix(BOM).lstrip().split(b"\n")[0].strip()
    if first in (b"[", b"{", b"[{"):
        raise DataError(f"{path} is JSON over several lines; one object a line is needed, such as `jq -c '.[]'` writes")
    return Head(form)


def _csv_head(path: str, form: TextForm, data: bytes, stream: ByteStream, *, guess: bool) -> Head:
    at, line, skipped = len(BOM) if data.startswith(BOM) else 0, 1, ""
    if found := _SEP.match(data, at):
        skipped, at, line = found[0].decode("utf-8", "replace").strip(), found.end(), 1 + _lines(found[0])
        form = form._replace(delimiter=found[1].decode()) if guess and found[1].isascii() else form
    while True:
        more = stream.read(LOOK)
        split = cut_records(data[at:], not more, form._replace(names=()), line)
        firsts = record_starts(split.ends).tolist() if len(split.ends) else []
        for i, (first, end) in enumerate(zip(firsts, split.ends.tolist(), strict=True)):
            record = data[at + first : at + end]
            if record.strip(_BLANK):
                number = line + int(np.searchsorted(split.breaks, first, side="right"))
                names = _names(path, record, split.why.get(i), form, number)
                after = line + int(np.searchsorted(split.breaks, end, side="right"))
                return Head(form._replace(names=names), at + end, after, skipped)
        if not more or len(data) > BLOCK_BYTES:
            raise DataError(f"{path} is empty: not even a header" if not more else f"{path}: its header does not end")
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
        advice = f"set data.csv.encoding to {name}" if name else IN_ANOTHER_ENCODING
        garbled = record.decode("utf-8", "replace").strip("\r\n")
        odd = next((part for part in garbled.split(form.delimiter) if "\ufffd" in part), garbled)
        raise DataError(f"{path}: the header's column `{odd}` is not {form.encoding.upper()}; {advice}") from None
    return tuple(name or "" for name in delimited.fields_of(record, form._replace(nulls=())))


IN_ANOTHER_ENCODING = "set data.csv.encoding to windows-1252 (or iso-8859-1) where Windows wrote the file, or convert it to UTF-8"


def _lines(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def _parsed(data: bytes, found: RecordCut, form: TextForm, lines: Int64s) -> tuple[pa.Table, Int64s, list[BadLine], int]:
    """Of the records of a block the rows, their lines, those that are none, and the number of blank ones."""
    ends, first = found.ends, record_starts(found.ends)
    why = {i: reason for i, reason in found.why.items() if i < len(ends)}
    blanks = _BLANK.translate(None, form.delimiter.encode() if form.kind == "csv" else b"")
    maybe = np.flatnonzero(np.frombuffer(data, np.uint8)[first] <= ord(" "))
    blank = [i for i in maybe.tolist() if i not in why and not data[first[i] : ends[i]].strip(blanks)]
    records = record_array(data, ends)
    why |= _no_text(data, records, ends, form)
    good = np.ones(len(ends), bool)
    good[blank], good[[*why]] = False, False
    where = np.flatnonzero(good)
    rows_of = delimited.csv_rows if form.kind == "csv" else jsonlines.json_rows
    rows, odd = rows_of(records if good.all() else records.filter(pa.array(good)), form)
    why |= {int(where[i]): reason for i, reason in odd.items()}
    if rows.num_rows + len(why) + len(blank) != len(ends):
        counted = f"{rows.num_rows:,} rows, {len(why):,} bad and {len(blank):,} blank lines"
        raise PromiseError(f"{counted} came of {len(ends):,} records; please report this")
    kept = lines[np.delete(where, [*odd])] if odd else lines[where]
    bad = [bad for i in sorted(why) for bad in _bad(int(lines[i]), why[i], data[first[i] : ends[i]], form)]
    return rows, kept, bad, len(blank)


def _no_text(data: bytes, records: pa.Array, ends: Int64s, form: TextForm) -> dict[int, str]:
    """Records that are not of the encoding, or hold a NUL byte."""
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


def _bad(line: int, reason: str, record: bytes, form: TextForm) -> Iterator[BadLine]:
    """Each line of a record that is no row."""
    inner = re.split(b"\r\n?|\n", record.rstrip(b"\r\n")) if form.multi_line else [record.rstrip(b"\r\n")]
    for i, text in enumerate(inner):
        yield BadLine(line + i, FOLLOWS if i else reason, _raw(text, form.encoding))


def _raw(record: bytes, encoding: str) -> str:
    r"""The text of a record; bytes that are none stand as `\x…`."""
    if encoding == "utf-8":
        return record.decode("utf-8", "backslashreplace")
    text = record.decode("utf-8", "surrogatepass").encode("utf-8", "backslashreplace").decode()
    return re.sub(r"\\udc([89a-f][0-9a-f])", r"\\x\1", text)
