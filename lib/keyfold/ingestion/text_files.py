"""Reads text files in an engine's tasks, by ranges of bytes: a row per line, with its number, or with its reason and text if it is bad."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.columns import DeclaredColumn, check_folders, check_names
from keyfold.core.names import FILE, LINE, RAW, REASON
from keyfold.engine.arrow_types import arrow_type
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Frame
from keyfold.engine.spark_files import escape_glob, list_files, read_files
from keyfold.errors import DataError, suggestion
from keyfold.readers.blocks import END, Head, read_head
from keyfold.readers.jsonlines import distinct_keys
from keyfold.readers.opening import refuse_archives
from keyfold.readers.ranges import ByteRange, plan_ranges, read_range
from keyfold.readers.rows import FolderColumns, name_first_column, part_rows, repeat_text, text_heads
from keyfold.readers.text_form import TextForm
from keyfold.readers.typed_rows import RowTypes, cast_rows

_SMALL, _LARGE = 4 << 20, 64 << 20  # bytes of a worker's task, at least and at most
_REMOTE_BYTES = (1 << 31) - 1  # of a remote file, at most
_HEADER_BYTES = 1 << 20  # of a remote file, in which its header is looked for

Folders = Mapping[str, FolderColumns]  # by file


class TextFiles(NamedTuple):
    """The heads of text files by name; `remote`: their names, if Spark reads them from another file system."""

    heads: dict[str, Head]
    remote: Sequence[str] = ()

    def with_keys(self, keys: Sequence[str], in_folders: Sequence[str] = ()) -> "TextFiles":
        """The same files, with these keys to read from JSON lines, some of which their folders give."""
        form = next(iter(self.heads.values())).form._replace(names=tuple(keys), given=tuple(in_folders))
        heads = {file: head._replace(form=form) for file, head in self.heads.items()}
        return self._replace(heads=heads)

    @property
    def names(self) -> list[str]:
        """The columns of the first file."""
        return [*next(iter(self.heads.values())).form.names]

    def json_keys(self, engine: Engine) -> list[str]:
        """The keys of JSON lines of local files, in their order, without those that differ from another by case alone."""
        tasks = [*enumerate(_tasks(engine, self.heads))]
        keys = engine.map_tasks(_read_keys, tasks, {"task": pa.int64(), "name": pa.string()}).to_arrow()
        return distinct_keys(keys.take(pc.array_sort_indices(keys["task"]))["name"].to_pylist())

    def notes(self) -> list[str]:
        """A sentence for each file in which a line before the header was skipped."""
        return [f"{file}: the line `{head.skipped}` was skipped" for file, head in self.heads.items() if head.skipped]

    def frame(self, engine: Engine, folders: Folders, types: RowTypes) -> Frame:
        """The typed rows, with REASON, RAW, FILE, LINE and the clock faults; `types`: those of all columns, and then of folders."""
        columns, in_folders = [column.origin for column in types.columns], [*next(iter(folders.values()))]
        texts = self.with_keys(columns, in_folders) if next(iter(self.heads.values())).form.kind == "json" else self
        reader = _Reader(columns, types, folders)
        if self.remote:
            return engine.read_files(self.remote).map_batches(partial(_read_contents, reader, texts.heads), reader.schema)
        return engine.map_tasks(partial(_read_ranges, reader), _tasks(engine, texts.heads), reader.schema)


class _Reader(NamedTuple):
    """Input of a worker: the columns of the files in order, their types, and the columns of folders."""

    columns: list[str]
    types: RowTypes
    folders: Folders

    @property
    def schema(self) -> dict[str, pa.DataType]:
        own = {REASON: "string", RAW: "string", FILE: "string", LINE: "bigint"}
        types = {column.name: column.type for column in self.types.columns} | own | self.types.faults()
        return {name: arrow_type(type_) for name, type_ in types.items()}

    def batches(self, range_: ByteRange, content: bytes | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a range, and its bad lines."""
        for part in read_range(range_, content):
            rows = part_rows(range_.path, part, self.folders[range_.path], self.columns)
            yield self._typed(rows.file, rows.kept.columns, rows.lines, pa.nulls(len(rows.lines), pa.string()))
            if rows.bad:
                lines, *reasons_and_texts = zip(*rows.bad, strict=True)
                nulls = [pa.nulls(len(lines), pa.string())] * len(self.columns)
                yield self._typed(rows.file, nulls, lines, *(pa.array(texts, pa.string()) for texts in reasons_and_texts))

    def _typed(
        self, file: str, texts: list[pa.Array], lines: Any, reason: pa.Array, raw: pa.Array | None = None
    ) -> pa.RecordBatch:
        rows = cast_rows(texts, self.types, reason)
        own = [rows.reason, rows.raw if raw is None else raw, repeat_text(file, len(lines)), pa.array(lines, pa.int64())]
        return pa.RecordBatch.from_arrays([*rows.values, *own, *rows.faults], [*self.schema])


def _read_ranges(reader: _Reader, ranges: list[ByteRange]) -> Iterator[pa.RecordBatch]:
    for range_ in ranges:
        yield from reader.batches(range_)


def _read_keys(task: tuple[int, list[ByteRange]]) -> Iterator[pa.RecordBatch]:
    number, ranges = task
    names = dict.fromkeys(name for range_ in ranges for part in read_range(range_) for name in part.rows.column_names)
    yield pa.RecordBatch.from_pydict({"task": [number] * len(names), "name": pa.array([*names], pa.string())})


def _read_contents(reader: _Reader, heads: Mapping[str, Head], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for row in batch.to_pylist():
            head = heads[row["file"]]
            yield from reader.batches(ByteRange(row["file"], head, head.start, END, head.line), row["content"])


def _tasks(engine: Engine, heads: Mapping[str, Head]) -> list[list[ByteRange]]:
    """Ranges of files by task: enough tasks for all cores; small files share one."""
    sizes = {file: Path(file).stat().st_size for file in heads}
    size = min(max(sum(sizes.values()) // (4 * engine.tasks), _SMALL), _LARGE)
    tasks: list[list[ByteRange]] = [[]]
    filled = 0
    for file, head in heads.items():
        for range_ in plan_ranges(file, head, size, sizes[file]):
            length = min(range_.end, sizes[file]) - range_.start
            if tasks[-1] and filled + length > size:
                tasks.append([])
                filled = 0
            tasks[-1].append(range_)
            filled += length
    return tasks


def local_text_files(files: Sequence[str], form: TextForm) -> TextFiles:
    """Local files with their heads (DataError for one that is not text, or has no header)."""
    return TextFiles(text_heads(files, form))


def remote_text_files(engine: Engine, names: Sequence[str], form: TextForm) -> TextFiles:
    """Files of another file system, whose bytes Spark reads (DataError as above, and for a file of more than 2 GB)."""
    sizes = list_files(engine.spark, *map(escape_glob, names))
    if large := next((file.name for file in sizes if file.size > _REMOTE_BYTES), None):
        raise DataError(f"{large} has more than 2 GB, and a remote file is read whole; split it, or copy it to this file system")
    heads = {}
    for row in read_files(engine.spark, names, _HEADER_BYTES).sort(["file"]).rows():
        refuse_archives(row["file"])
        heads[row["file"]] = name_first_column(read_head(row["file"], form, row["content"]))
    return TextFiles(heads, names)


def check_header(texts: TextFiles, folders: Folders, wanted: Mapping[str, DeclaredColumn]) -> None:
    """DataError if a file's column names are unfit, or not those of the conf or of the other files."""
    for file, head in texts.heads.items():
        names, in_folders = [*head.form.names], [*folders[file]]
        if head.form.kind == "csv":
            _check_names(file, names)
        check_folders(file, names, in_folders)
        if odd := sorted({*names} ^ {*texts.names}):
            first = next(iter(texts.heads))
            raise DataError(
                f"{file} has different columns from {first}: `{'`, `'.join(odd)}`; declare each layout as one of data.versions"
            )
        for column in wanted.values():
            if column.name not in (*names, *in_folders):
                raise DataError(
                    f"{file} has no column `{column.name}`, which data.columns declares{suggestion(column.name, names)}"
                )
        check_names(file, [*names, *in_folders], wanted)


def _check_names(path: str, header: Sequence[str]) -> None:
    folded = [name.casefold() for name in header]
    repeated = sorted({name for name in header if name.strip() and folded.count(name.casefold()) > 1})
    if repeated:
        how = " more than once" if len(repeated) == 1 else ", which Spark takes for one name"
        raise DataError(f"{path}: the header has {' and '.join(f'`{name}`' for name in repeated)}{how}; rename one")
    if unnamed := [i + 1 for i, name in enumerate(header) if not name.strip()]:
        raise DataError(f"{path}: column {unnamed[0]} of the header has no name; name it")
