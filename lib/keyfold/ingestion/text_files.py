"""Text files as rows in Spark's workers: each reads ranges of bytes, and every line comes with its number, and its reason if it is bad."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from keyfold.conf.columns import DeclaredColumn, check_folders, check_names
from keyfold.core.names import FILE, LINE, LINE_REASON, LINE_TEXT
from keyfold.engine import functions as F
from keyfold.errors import DataError, suggestion
from keyfold.readers.blocks import END, Head, read_head
from keyfold.readers.form import TextForm
from keyfold.readers.opening import refuse_archives
from keyfold.readers.ranges import ByteRange, plan_ranges, read_range

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

NUMBERED = "_c0"  # what R and pandas write before the first column, without a name: the number of the row
_SMALL, _LARGE = 4 << 20, 64 << 20  # bytes that a worker reads, at least and at most
_WHOLE = (1 << 31) - 1  # bytes of a file elsewhere, at most
_BEGIN = 1 << 20  # bytes of a file elsewhere that hold its header

Folders = Mapping[str, Mapping[str, str | None]]


class TextFiles(NamedTuple):
    """Text files by name, with what they begin with; `at`: what Spark reads, where they are not in the local file system."""

    heads: dict[str, Head]
    at: Sequence[str] = ()

    def wanting(self, names: Sequence[str]) -> "TextFiles":
        """The same, of which these keys are wanted."""
        heads = {file: head._replace(form=head.form._replace(names=tuple(names))) for file, head in self.heads.items()}
        return self._replace(heads=heads)

    @property
    def names(self) -> list[str]:
        """The columns of the first file."""
        return [*next(iter(self.heads.values())).form.names]

    def notes(self) -> list[str]:
        """What was skipped at the beginning of files."""
        return [f"{file}: the line `{head.skipped}` was skipped" for file, head in self.heads.items() if head.skipped]

    def frame(self, spark: "SparkSession", folders: Folders, renamed: Mapping[str, str] = MappingProxyType({})) -> "DataFrame":
        """The rows as text, with the columns that folders name, some of them renamed, and FILE, LINE, LINE_TEXT and LINE_REASON."""
        from pyspark.sql.types import LongType, StringType, StructType

        columns = [*self.names, *next(iter(folders.values()))]
        reader = _Reader([*columns], [renamed.get(c, c) for c in columns], folders)
        schema = StructType()
        for name in reader.names:
            schema = schema.add(name, LongType() if name == LINE else StringType())
        if self.at:
            return _content(spark, self.at).mapInArrow(partial(_files, reader, self.heads), schema)
        tasks = _tasks(spark, self.heads)
        return spark.range(0, len(tasks), 1, len(tasks)).mapInArrow(partial(_ranges, reader, tasks), schema)


class _Reader(NamedTuple):
    """What a worker needs to know: the order of columns, their names in the rows, and those that folders name."""

    columns: list[str]
    called: list[str]
    folders: Folders

    def batches(self, range_: ByteRange, content: bytes | None = None) -> "Iterator[pa.RecordBatch]":
        """The rows of a range, and its bad lines."""
        import pyarrow as pa

        file, folder = range_.path, self.folders[range_.path]
        for part in read_range(range_, content):
            n, nothing = part.rows.num_rows, pa.nulls(part.rows.num_rows, pa.string())
            values = [_again(folder[c], n) if c in folder else part.rows[c] for c in self.columns]
            rows = [*values, nothing, nothing, _again(file, n), pa.array(part.lines, pa.int64())]
            yield from pa.Table.from_arrays(rows, self.names).to_batches()
            if part.bad:
                lines, reasons, raws = zip(*part.bad, strict=True)
                nothing = pa.nulls(len(lines), pa.string())
                texts = [pa.array(raws, pa.string()), pa.array(reasons, pa.string()), _again(file, len(lines))]
                bad = [*([nothing] * len(self.columns)), *texts, pa.array(lines, pa.int64())]
                yield pa.RecordBatch.from_arrays(bad, self.names)

    @property
    def names(self) -> list[str]:
        return [*self.called, LINE_TEXT, LINE_REASON, FILE, LINE]


def _again(value: str | None, n: int) -> "pa.Array":
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.repeat(0, n).cast(pa.int32()), pa.array([value], pa.string())).cast(pa.string())


def _ranges(reader: _Reader, tasks: list[list[ByteRange]], batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    for batch in batches:
        for i in batch.column(0).to_pylist():
            for range_ in tasks[i]:
                yield from reader.batches(range_)


def _files(reader: _Reader, heads: Mapping[str, Head], batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    for batch in batches:
        for row in batch.to_pylist():
            head = heads[row["file"]]
            yield from reader.batches(ByteRange(row["file"], head, head.start, END, head.line), row["content"])


def _tasks(spark: "SparkSession", heads: Mapping[str, Head]) -> list[list[ByteRange]]:
    """Ranges of files, so that each core has some, and small files share a task."""
    from keyfold.engine.session import parallel_tasks

    sizes = {file: Path(file).stat().st_size for file in heads}
    size = min(max(sum(sizes.values()) // (4 * parallel_tasks(spark)), _SMALL), _LARGE)
    tasks: list[list[ByteRange]] = [[]]
    full = 0
    for file, head in heads.items():
        for range_ in plan_ranges(file, head, size, sizes[file]):
            length = min(range_.end, sizes[file]) - range_.start
            if tasks[-1] and full + length > size:
                tasks.append([])
                full = 0
            tasks[-1].append(range_)
            full += length
    return tasks


def local_text_files(files: Sequence[str], form: TextForm, *, guess: bool) -> TextFiles:
    """Files of the local file system (DataError for one that is no text, or has no header)."""
    for file in files:
        refuse_archives(file)
    return TextFiles({file: _named(read_head(file, form, guess=guess)) for file in files})


def remote_text_files(spark: "SparkSession", at: Sequence[str], form: TextForm, *, guess: bool) -> TextFiles:
    """Files of another file system, whose bytes come by Spark (DataError as above)."""
    if large := _content(spark, at).where(F.col("length") > _WHOLE).select("file").take(1):
        raise DataError(
            f"{large[0].file} has more than 2 GB, and is read whole where it is; split it, or copy it to this file system"
        )
    begin = _content(spark, at).select("file", F.substring("content", 1, _BEGIN).alias("begin"))
    heads = {}
    for row in begin.orderBy("file").collect():
        refuse_archives(row.file)
        heads[row.file] = _named(read_head(row.file, form, bytes(row.begin), guess=guess))
    return TextFiles(heads, at)


def _content(spark: "SparkSession", at: Sequence[str]) -> "DataFrame":
    from keyfold.ingestion.source_rows import source_file

    there = spark.read.format("binaryFile").load([*at])
    return there.select(source_file(there).alias("file"), "length", "content")


def _named(head: Head) -> Head:
    first, *more = head.form.names or ("",)
    return head._replace(form=head.form._replace(names=(NUMBERED, *more))) if more and not first.strip() else head


def check_header(found: TextFiles, folders: Folders, wanted: Mapping[str, DeclaredColumn]) -> None:
    """DataError where a file's names are not fit, or not those of the conf or of the other files."""
    for file, head in found.heads.items():
        names, given = [*head.form.names], [*folders[file]]
        if head.form.kind == "csv":
            _check_names(file, names)
        check_folders(file, names, given)
        if odd := sorted({*names} ^ {*found.names}):
            first = next(iter(found.heads))
            which = "`, `".join(odd)
            raise DataError(f"{file} has other columns than {first}: `{which}`; declare each layout as one of data.versions")
        for column in wanted.values():
            if column.name not in (*names, *given):
                raise DataError(
                    f"{file} has no column `{column.name}`, which data.columns declares{suggestion(column.name, names)}"
                )
        check_names(file, [*names, *given], wanted)


def _check_names(path: str, header: Sequence[str]) -> None:
    folded = [name.casefold() for name in header]
    twice = sorted({name for name in header if name.strip() and folded.count(name.casefold()) > 1})
    if twice:
        how = " more than once" if len(twice) == 1 else ", which Spark takes for one name"
        raise DataError(f"{path}: the header has {' and '.join(f'`{t}`' for t in twice)}{how}; rename one")
    if unnamed := [i + 1 for i, name in enumerate(header) if not name.strip()]:
        raise DataError(f"{path}: column {unnamed[0]} of the header has no name; name it")
