"""Reads text files for tests: rows, bad lines and blank lines."""

import bz2
import gzip
import lzma

import pyarrow as pa

from keyfold.readers.blocks import read_head, read_parts


def seen(path, form, content=None):
    """The rows, bad lines and blank lines of a file."""
    return gathered(read_parts(path, read_head(path, form, content), content))


def gathered(some):
    rows, bad, blank = [], [], 0
    for part in some:
        rows += [(int(line), tuple(row.values())) for line, row in zip(part.lines, part.rows.to_pylist(), strict=True)]
        bad += part.bad
        blank += part.blank
    return rows, bad, blank


def rows_and_reasons(path, content, form):
    path.write_text(content)
    some = [*read_parts(str(path), read_head(str(path), form))]
    rows = [(int(n), *row.values()) for part in some for n, row in zip(part.lines, part.rows.to_pylist(), strict=True)]
    return rows, {bad.line: bad.reason for part in some for bad in part.bad}


def packed(kind, content):
    if kind == "zst":
        to = pa.BufferOutputStream()
        with pa.CompressedOutputStream(to, "zstd") as stream:
            stream.write(content)
        return to.getvalue().to_pybytes()
    return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](content)
