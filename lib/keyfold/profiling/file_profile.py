"""The start of CSV, JSON-lines or Parquet files, read in blocks without Spark: what their columns hold."""

import codecs
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keyfold.conf.csv import canonical_encoding
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.ingestion.sources import delimiter_of, format_of
from keyfold.profiling.column_profile import TYPE_PATTERNS, Block, ColumnProfile, null_words
from keyfold.profiling.row_sample import RowSample
from keyfold.profiling.value_formats import NUMBER_FORMATS, PLAIN, NumberFormat
from keyfold.readers.blocks import Head, read_head, read_parts
from keyfold.readers.form import FilePart, TextForm
from keyfold.readers.jsonlines import NO_OBJECT
from keyfold.readers.opening import refuse_archives
from keyfold.readers.paths import local_files, partition_columns
from keyfold.readers.records import BREAKS

LIMIT = 200_000_000  # bytes
NAMELESS = "_c0"  # the name of a first column without one


@dataclass
class FileProfile:
    """The columns of files, in their order, and what else is worth telling of them."""

    format: str  # csv, json or parquet
    files: list[str]
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    rows: int = 0
    bad: Counter[str] = field(default_factory=Counter)  # lines that are not rows, by reason
    cut: bool = False  # there is more than was read
    delimiter: str = ","
    encoding: str = "utf-8"  # by Spark's name
    multi_line: bool = False  # a quoted text holds a line break
    escape: str = ""  # what stands before a quote in quotes
    nulls: list[str] = field(default_factory=list)  # words that stand for missing values
    separator: bool = False  # the first line is `sep=;`, as Excel writes it
    header: list[str] | None = None  # names in place of the header's, of which some are missing or repeated
    partitions: list[str] = field(default_factory=list)  # columns that folders give
    other: str | None = None  # a file that has other columns than the first
    sample: RowSample = field(default_factory=RowSample)

    @property
    def numbers(self) -> NumberFormat:
        """How the numbers of the files are written."""
        return next((column.numbers for column in self.columns.values()), PLAIN)


# What text may turn out to be: a JSON number is one already, and so is all of Parquet.
_CASTABLE = {"csv": frozenset(TYPE_PATTERNS), "json": frozenset({"date", "timestamp"}), "parquet": frozenset[str]()}


def profile_files(
    path: str, encoding: str = "utf-8", each: Callable[[Block, int], None] = lambda _, __: None, limit: int | None = None
) -> FileProfile:
    """The columns of the first `limit` bytes (default: `LIMIT`) of a file, a folder or a pattern; `each` is called with every block and its file's number.

    ConfError where there is no such file or encoding, DataError where it is empty, garbled or of a kind that is not read.
    """
    files = matching_files(path)
    seen = FileProfile(format_of(path if len(files) == 1 else files[0]), files, encoding=_charset(encoding))
    _refuse_kind(seen, path)
    size = 0
    for number in range(len(files)):
        seen.cut |= size >= (limit or LIMIT)
        if not seen.cut:
            size = _take_file(seen, path, number, size, limit or LIMIT, encoding, each)
    if not seen.rows:
        bad = ", ".join(f"{n:,} × {reason}" for reason, n in seen.bad.items())
        raise DataError(f"{path} has no rows{f': {bad}' if bad else ''}")
    _settle(seen)
    return seen


def matching_files(path: str) -> list[str]:
    """The files that a path, folder or pattern stands for, without hidden ones (ConfError where there is none)."""
    at = Path(path)
    files = [path] if at.is_file() else local_files(path) or []
    if files:
        return files
    if at.is_dir():
        raise ConfError(f"the folder `{path}` has no files (names that begin with . or _ are hidden)")
    names = [p.name for p in at.parent.iterdir()] if at.parent.is_dir() else []
    raise ConfError(f"there is no file `{path}`{suggestion(at.name, names)}")


def _refuse_kind(seen: FileProfile, path: str) -> None:
    if seen.format in ("delta", "images"):
        what = (
            "a Delta table; name it by data.table"
            if seen.format == "delta"
            else "pictures; see `image` and `images` in the README"
        )
        raise ConfError(f"`{path}` is {what}: init looks at CSV, JSON-lines and Parquet files")
    for file in seen.files:
        refuse_archives(file)


def _charset(encoding: str) -> str:
    try:
        return canonical_encoding(encoding)
    except ValueError as error:
        raise ConfError(f"--encoding {error}") from None


def _take_file(
    seen: FileProfile, path: str, number: int, size: int, limit: int, encoding: str, each: Callable[[Block, int], None]
) -> int:
    file = seen.files[number]
    folders = partition_columns(path, [str(Path.cwd() / file)])[str(Path.cwd() / file)]
    seen.partitions = [*dict.fromkeys([*seen.partitions, *folders])]
    before = [*seen.columns]
    try:
        for block in _blocks(Path(file), encoding, seen):
            if size >= limit:
                seen.cut = True
                break
            rows = len(next(iter(block.values()), ()))
            whole = block | {name: pa.array([value] * rows, pa.string()) for name, value in folders.items()}
            size += sum(values.nbytes for values in block.values())
            _take(seen, whole, rows)
            each(whole, number)
            if before and {*whole} != {*before} and seen.format != "json":
                seen.other = seen.other or file
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise DataError(_garbled(file, encoding) or f"{file} cannot be read: {error}") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    return size


def _take(seen: FileProfile, block: Block, rows: int) -> None:
    seen.rows += rows
    for name, values in block.items():
        castable = frozenset(TYPE_PATTERNS) if name in seen.partitions else _CASTABLE[seen.format]
        seen.columns.setdefault(name, ColumnProfile(name)).add(values, castable)
    seen.sample.add(block)


def _settle(seen: FileProfile) -> None:
    """All columns have the one form of numbers that makes most of them numbers; of several the plainest."""
    columns = seen.columns.values()
    forms = [PLAIN, *(n for n in NUMBER_FORMATS if n.decimal == ","), *(n for n in NUMBER_FORMATS if n.decimal == ".")]
    if seen.delimiter == ",":  # else it stands where a decimal comma would
        forms = [PLAIN, *(n for n in NUMBER_FORMATS if n.decimal == "."), *forms]
    most = max(forms, key=lambda form: sum(form in column.forms for column in columns))
    for column in columns:
        column.numbers = most if column.forms or "string" in column.can else PLAIN


def _blocks(path: Path, encoding: str, seen: FileProfile) -> Iterator[Block]:
    match seen.format:
        case "parquet":
            return _parquet(path)
        case "json":
            return _json(path, encoding, seen)
    return _csv(path, encoding, seen)


def _parquet(path: Path) -> Iterator[Block]:
    for batch in pq.ParquetFile(path).iter_batches(16_384):
        yield dict(zip(_unique(batch.schema.names), map(_plain, batch.columns), strict=True))


def _plain(values: pa.Array) -> pa.Array:
    """Values that all of Arrow's functions take."""
    t, kind = pa.types, values.type
    plain = next((to for test, to in ((t.is_string_view, pa.string()), (t.is_binary_view, pa.binary())) if test(kind)), kind)
    return values.cast(plain) if plain != kind else values


def _json(path: Path, encoding: str, seen: FileProfile) -> Iterator[Block]:
    names: dict[str, None] = {}
    read_head(str(path), TextForm("json", encoding=codecs.lookup(encoding).name))
    with _open(path, encoding) as lines:
        while some := list(islice(lines, 10_000)):
            rows = [row for line in some if line.strip() and (row := _object(line, seen)) is not None]
            names |= dict.fromkeys(name for row in rows for name in row)
            yield {name: _array([row.get(name) for row in rows]) for name in _unique([*names])}


def _object(line: str, seen: FileProfile) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    seen.bad[NO_OBJECT] += not isinstance(row, dict)
    return row if isinstance(row, dict) else None


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values} - {type(None)}
    try:
        if kinds and (kinds <= {int, float} or kinds == {bool}):
            return pa.array(values, pa.float64() if float in kinds else None)
    except (OverflowError, pa.ArrowInvalid):  # whole numbers beyond 64 bits, or that a double would round
        pass
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _csv(path: Path, encoding: str, seen: FileProfile) -> Iterator[Block]:
    head = _head(str(path), encoding)
    seen.delimiter, seen.separator = head.form.delimiter, bool(head.skipped)
    header = [*head.form.names]
    names = _named(header)
    if names[1:] != header[1:] or (header[0].strip() and names != header):
        seen.header = names
    form = head.form._replace(names=tuple(names), escape=seen.escape, nulls=tuple(seen.nulls))
    head = head._replace(form=form._replace(multi_line=seen.multi_line or form.multi_line))
    if not seen.rows:
        head = _guessed(str(path), head, seen)
    for part in read_parts(str(path), head):
        seen.multi_line |= head.form.multi_line or _breaks(part)
        _count_bad(seen, path, part, encoding)
        yield {name: _blank_is_null(values.combine_chunks()) for name, values in zip(names, part.rows.columns, strict=True)}


def _guessed(path: str, head: Head, seen: FileProfile) -> Head:
    """The head with what the beginning of the file says of escapes, line breaks and words for missing values."""
    first = _first(path, head)
    if any('\\"' in bad.raw for bad in first.bad):
        other = head._replace(form=head.form._replace(escape="\\"))
        if len(_first(path, other).bad) < len(first.bad):
            head, first, seen.escape = other, _first(path, other), "\\"
    if _breaks(first):
        head = head._replace(form=head.form._replace(multi_line=True))
        first = _first(path, head)
    if words := null_words(first.rows):
        other = head._replace(form=head.form._replace(nulls=tuple(words)))
        left = null_words(_first(path, other).rows)  # those in quotes
        seen.nulls = [word for word in words if word not in left]
        head = head._replace(form=head.form._replace(nulls=tuple(seen.nulls)))
    return head


def _first(path: str, head: Head) -> FilePart:
    return next(read_parts(path, head), FilePart(pa.table({}), np.zeros(0, np.int64), [], 0, 0, 0))


def _head(path: str, encoding: str) -> Head:
    """The header, read with the delimiter that gives the most names."""
    found, failed = [], None
    likely = "\t" if delimiter_of(path, None) == "\t" else ",\t;|"
    for delimiter, multi_line in product(likely, (False, True)):
        form = TextForm(delimiter=delimiter, encoding=codecs.lookup(encoding).name, multi_line=multi_line)
        try:
            found.append(read_head(path, form))
        except DataError as error:
            failed = failed or error
    if failed and not found:
        raise DataError(_garbled(path, encoding) or str(failed)) from failed
    return max(found, key=lambda head: len(head.form.names))


def _breaks(part: FilePart) -> bool:
    return any(bad.reason == BREAKS for bad in part.bad)


def _count_bad(seen: FileProfile, path: Path, part: FilePart, encoding: str) -> None:
    for bad in part.bad:
        if bad.reason.startswith("the line is not ") and (sentence := _garbled(str(path), encoding)):
            raise DataError(sentence)
        seen.bad[bad.reason] += 1


def _named(header: list[str]) -> list[str]:
    """The header with a name for each column that has none or will not do, and another for each that repeats one; case does not count."""
    taken = {name.casefold() for name in header}
    names: list[str] = []
    for place, name in enumerate(header, 1):
        plain = re.sub("^(?=keyfold_|content_key$)", "former_", re.sub(r"\s*[\r\n]\s*", " ", name))
        fresh = plain if name.strip() else NAMELESS if place == 1 else f"column_{place}"
        number = 2
        while fresh.casefold() in {n.casefold() for n in names} or (fresh != name and fresh.casefold() in taken):
            fresh, number = f"{plain.strip() or f'column_{place}'}_{number}", number + 1
        names.append(fresh)
    return names


def _unique(names: list[str]) -> list[str]:
    folded: dict[str, str] = {}
    for name in names:
        if name.casefold() in folded:
            other = folded[name.casefold()]
            what = "" if other == name else f" (as `{other}`; Spark's names do not tell capitals apart)"
            raise DataError(f"the column name `{name}` stands twice{what}; rename one (or is there no header?)")
        folded[name.casefold()] = name
    return names


def _open(path: Path, encoding: str) -> IO[str]:
    """Text lines; a byte order mark is not part of the first name, and `.gz` is unpacked."""
    encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    return io.TextIOWrapper(io.BufferedReader(pa.input_stream(path)), encoding, newline="")


_ONLY_WINDOWS = re.compile(
    rb"[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]"
)  # € and typographic quotes; in Latin-1 these are no characters


def _garbled(path: str, encoding: str) -> str | None:
    """The sentence for the first line that is not text in this encoding."""
    with io.BufferedReader(pa.input_stream(path)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                what = f"{path}, line {number} is not {encoding.upper()} (byte {line[error.start]:#04x})"
                if not _ONLY_WINDOWS.search(line + b"".join(islice(lines, 1_000))):
                    return f"{what}; save the file as UTF-8 or name its encoding, as in `--encoding windows-1252`"
                return f"{what}; it looks like Windows' own encoding, in which {_shown(line)}: try `--encoding windows-1252`"
    return None


def _shown(line: bytes) -> str:
    at = re.search(rb"\S*[\x80-\xff]\S*", line)
    return f"this is `{at[0].decode('cp1252', 'replace'):.40}`" if at else "it is text"


def _blank_is_null(values: pa.Array) -> pa.Array:
    blank = pc.equal(pc.ascii_trim_whitespace(values), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)
