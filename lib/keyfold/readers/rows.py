"""Reads the rows of text files, in any process and block by block: kept rows in Arrow, bad lines with number, reason and text."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from keyfold.core.arrays import Int64s
from keyfold.errors import DataError, suggestion
from keyfold.readers.blocks import Head, read_head, read_parts
from keyfold.readers.opening import refuse_archives
from keyfold.readers.paths import local_files, partition_columns, require_files
from keyfold.readers.text_form import BadLine, FilePart, TextForm

NUMBERED = "_c0"  # the name of a first column that has none: R and pandas write row numbers so

FolderColumns = Mapping[str, str | None]  # the columns that the folders of a file give


class Rows(NamedTuple):
    """Rows of a file: those that are kept, as text, the number of the line of each, and the lines that are not rows."""

    file: str
    kept: pa.RecordBatch
    lines: Int64s
    bad: list[BadLine]


def read_rows(source: str, form: TextForm, columns: Sequence[str] = ()) -> Iterator[Rows]:
    """The rows of a local file, folder or pattern, in order, in memory that does not grow with the files.

    `columns` are read, and default to all columns of each file, then those that its folders give; of JSON lines, to all keys of a block.
    Raises DataError for a file that is not text or lacks a column; every line of other files is a kept row, a bad line, or blank.
    """
    require_files(source)
    files = [*map(os.path.abspath, local_files(source) or ())]
    folders = partition_columns(source, files)
    for file, head in text_heads(files, form).items():
        yield from file_rows(file, head, folders[file], columns)


def file_rows(file: str, head: Head, folder: FolderColumns, columns: Sequence[str] = ()) -> Iterator[Rows]:
    """The rows of a file, as `read_rows` gives them."""
    if head.form.kind == "json":
        keys = tuple(columns) and (*(name for name in columns if name not in folder),)
        head = head._replace(form=head.form._replace(names=keys, given=tuple(folder)))
    elif absent := next((name for name in columns if name not in (*head.form.names, *folder)), None):
        raise DataError(f"{file} has no column `{absent}`{suggestion(absent, head.form.names)}")
    for part in read_parts(file, head):
        yield part_rows(file, part, folder, columns)


def part_rows(file: str, part: FilePart, folder: FolderColumns, columns: Sequence[str] = ()) -> Rows:
    """A part of a file with the columns that its folders give."""
    names = columns or [*part.rows.column_names, *folder]
    arrays = [repeat_text(folder[c], len(part.lines)) if c in folder else part.rows[c].combine_chunks() for c in names]
    fields = [pa.field(c, pa.string()) if c in folder else part.rows.schema.field(c) for c in names]
    return Rows(file, pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), part.lines, part.bad)


def text_heads(files: Sequence[str], form: TextForm) -> dict[str, Head]:
    """The heads of local files by name (DataError for one that is not text, or has no header)."""
    for file in files:
        refuse_archives(file)
    return {file: name_first_column(read_head(file, form)) for file in files}


def name_first_column(head: Head) -> Head:
    """A head whose first column has a name."""
    first, *more = head.form.names or ("",)
    return head._replace(form=head.form._replace(names=(NUMBERED, *more))) if more and not first.strip() else head


def repeat_text(value: str | None, n: int) -> pa.Array:
    """A text `n` times."""
    return pa.DictionaryArray.from_arrays(pa.repeat(0, n).cast(pa.int32()), pa.array([value], pa.string())).cast(pa.string())
