"""Splits a file into byte ranges that are read independently: each begins with a record at a known line number."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from keyfold.errors import DataError
from keyfold.readers.blocks import END, Head, count_lines, read_records
from keyfold.readers.csv_records import cut_records, has_sound_quoting
from keyfold.readers.opening import open_text, splittable
from keyfold.readers.text_form import BLOCK_BYTES, LONGEST, LOOK, FilePart


class ByteRange(NamedTuple):
    """A range of a file's bytes, with the number of its first line. It ends where the next range begins."""

    path: str
    head: Head
    start: int
    end: int
    line: int


def plan_ranges(path: str, head: Head, size: int, whole: int) -> list[ByteRange]:
    """Splits a file of `whole` bytes into ranges of about `size` bytes; one range if it is small, compressed or not UTF-8."""
    cuts = [(head.start, head.line)]
    if splittable(path, head.form.encoding) and whole > 2 * size:
        by_quotes = head.form.csv.multi_line and head.form.kind == "csv"
        cuts += _cuts_after_records(path, head, size) if by_quotes else _cuts_after_lines(path, head, size)
    pairs = zip(cuts, [*cuts[1:], (END, 0)], strict=True)
    return [ByteRange(path, head, start, end, line) for (start, line), (end, _) in pairs]


def read_range(range_: ByteRange, content: bytes | None = None) -> Iterator[FilePart]:
    """Reads the records of a range; DataError if the last one does not end where the next range begins."""
    path, head, start, end, line = range_
    at = start
    with open_text(path, head.form.encoding, content, start) as stream:
        for part in read_records(stream, path, head.form, start, end, line):
            at = part.stop
            yield part
    if at != end and end != END:  # noqa: PLR1714
        raise DataError(f"{path} changed while it was read; run again")


def _cuts_after_lines(path: str, head: Head, size: int) -> Iterator[tuple[int, int]]:
    """Cuts a file with one row per line after lines without broken quoting nearby."""
    at, line, want = head.start, head.line, head.start + size
    with open_text(path, head.form.encoding, None, head.start) as stream:
        before = b""  # the bytes before `data`
        tail = b""
        while chunk := stream.read(1 << 20):
            data = tail + chunk
            tail = data[-1:] if data.endswith(b"\r") else b""
            data = data.removesuffix(tail) if tail else data
            done = 0
            while at + len(data) >= want and (end := data.find(b"\n", max(done, want - 1 - at))) >= 0:
                window = _last_lines(before + data[: end + 1])
                line += count_lines(data[done : end + 1])
                done = end + 1
                if head.form.kind == "json" or has_sound_quoting(window, head.form):
                    yield at + done, line
                    want = at + done + size
                else:
                    want = at + done + LOOK
            line += count_lines(data[done:])
            at += len(data)
            before = (before + data)[-2 * LOOK :]


def _last_lines(data: bytes) -> bytes:
    """The lines that begin in the last `LOOK` bytes: a quote that opens in them may still be open at the end."""
    first = data.rfind(b"\n", 0, max(len(data) - LOOK, 0)) + 1
    return data[first:]


def _cuts_after_records(path: str, head: Head, size: int) -> Iterator[tuple[int, int]]:
    """Cuts a file whose quoted text may have line breaks: finds its records as the reader does."""
    at, line, want = head.start, head.line, head.start + size
    rest, more = b"", None
    with open_text(path, head.form.encoding, None, head.start) as stream:
        while more != b"":
            more = stream.read(max(BLOCK_BYTES, len(rest)))
            data = rest + more
            cut = cut_records(data, not more, head.form, line)
            ends = cut.ends
            lines = line + np.searchsorted(cut.breaks, ends, side="right")
            for i in _ends_near(ends + at, want, size):
                while i + 1 in cut.joined:
                    i += 1  # noqa: PLW2901
                if i < len(ends) and at + int(ends[i]) >= want:
                    yield at + int(ends[i]), int(lines[i])
                    want = at + int(ends[i]) + size
            if len(ends):
                at, line = at + int(ends[-1]), int(lines[-1])
            rest = data[int(ends[-1]) :] if len(ends) else data
            if len(rest) > LONGEST:
                return


def _ends_near(ends: "np.typing.NDArray[np.int64]", want: int, size: int) -> Iterator[int]:
    """The index of the first end at or after `want`, and then of one about every `size` bytes."""
    while (i := int(np.searchsorted(ends, want))) < len(ends):
        yield i
        want = max(int(ends[i]), want) + size
