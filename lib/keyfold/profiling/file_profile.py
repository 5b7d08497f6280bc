"""Profiles the columns of CSV, JSON-lines or Parquet files from their first bytes, in blocks, without Spark."""

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
    """Columns of files, in their order, and the reading options that the files need."""

    format: str  # csv, json or parquet
    files: list[str]
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    rows: int = 0
    bad: Counter[str] = field(default_factory=Counter)  # lines that are not rows, by reason
    cut: bool = False  # the files are longer than what was read
    delimiter: str = ","
    encoding: str = "utf-8"  # the name that Spark uses
    multi_line: bool = False  # a quoted text has a line break
    escape: str = ""  # the sign before a quote inside quotes
    nulls: list[str] = field(default_factory=list)  # words for missing values
    separator: bool = False  # the first line is `sep=;`, as Excel writes it
    header: list[str] | None = None  # corrected names, if the header has missing, repeated or reserved ones
    partitions: list[str] = field(default_factory=list)  # columns from the names of folders
    other: str | None = None  # a file with other columns than the first
    sample: RowSample = field(default_factory=RowSample)

    @property
    def numbers(self) -> NumberFormat:
        """Format of the numbers of the files."""
        return next((column.numbers for column in self.columns.values()), PLAIN)


# Types that text may hold; JSON numbers and Parquet columns have theirs.
_CASTABLE = {"csv": frozenset(TYPE_PATTERNS), "json": frozenset({"date", "timestamp"}), "parquet": frozenset[str]()}


def profile_files(
    path: str, encoding: str = "utf-8", each: Callable[[Block, int], None] = lambda _, __: None, limit: int | None = None
) -> FileProfile:
    """Profile of the first `limit` bytes (default: `LIMIT`) of a file, a folder or a pattern.

    `each` is called with every block and the number of its file. Raises ConfError if there is no such file or encoding,
    DataError if a file is empty, has another encoding or is of an unsupported kind.
    """
    files = matching_files(path)
    profile = FileProfile(format_of(path if len(files) == 1 else files[0]), files, encoding=_charset(encoding))
    _refuse_kind(profile, path)
    size = 0
    for number in range(len(files)):
        profile.cut |= size >= (limit or LIMIT)
        if not profile.cut:
            size = _take_file(profile, path, number, size, limit or LIMIT, encoding, each)
    if not profile.rows:
        bad = ", ".join(f"{n:,} × {reason}" for reason, n in profile.bad.items())
        raise DataError(f"{path} has no rows{f': {bad}' if bad else ''}")
    _settle(profile)
    return profile


def matching_files(path: str) -> list[str]:
    """Files of a path, folder or pattern, without hidden ones (ConfError if there are none)."""
    at = Path(path)
    files = [path] if at.is_file() else local_files(path) or []
    if files:
        return files
    if at.is_dir():
        raise ConfError(f"the folder `{path}` has no files (names that begin with . or _ are hidden)")
    names = [p.name for p in at.parent.iterdir()] if at.parent.is_dir() else []
    raise ConfError(f"there is no file `{path}`{suggestion(at.name, names)}")


def _refuse_kind(profile: FileProfile, path: str) -> None:
    others = {"delta": "a Delta table; name it by data.table", "images": "images; see `image` and `images` in the README"}
    if what := others.get(profile.format):
        raise ConfError(f"`{path}` is {what}: init reads CSV, JSON-lines and Parquet files")
    for file in profile.files:
        refuse_archives(file)


def _charset(encoding: str) -> str:
    try:
        return canonical_encoding(encoding)
    except ValueError as error:
        raise ConfError(f"--encoding {error}") from None


def _take_file(
    profile: FileProfile, path: str, number: int, size: int, limit: int, encoding: str, each: Callable[[Block, int], None]
) -> int:
    file = profile.files[number]
    folders = partition_columns(path, [str(Path.cwd() / file)])[str(Path.cwd() / file)]
    profile.partitions = [*dict.fromkeys([*profile.partitions, *folders])]
    before = [*profile.columns]
    try:
        for block in _blocks(Path(file), encoding, profile):
            if size >= limit:
                profile.cut = True
                break
            rows = len(next(iter(block.values()), ()))
            whole = block | {name: pa.array([value] * rows, pa.string()) for name, value in folders.items()}
            size += sum(values.nbytes for values in block.values())
            _take(profile, whole, rows)
            each(whole, number)
            if before and {*whole} != {*before} and profile.format != "json":
                profile.other = profile.other or file
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise DataError(_garbled(file, encoding) or f"{file} cannot be read: {error}") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    return size


def _take(profile: FileProfile, block: Block, rows: int) -> None:
    profile.rows += rows
    for name, values in block.items():
        castable = frozenset(TYPE_PATTERNS) if name in profile.partitions else _CASTABLE[profile.format]
        profile.columns.setdefault(name, ColumnProfile(name)).add(values, castable)
    profile.sample.add(block)


def _settle(profile: FileProfile) -> None:
    """Gives all columns the number format that makes most of them numeric, the plainest one of several."""
    columns = profile.columns.values()
    forms = [PLAIN, *(n for n in NUMBER_FORMATS if n.decimal == ","), *(n for n in NUMBER_FORMATS if n.decimal == ".")]
    if profile.delimiter == ",":  # with another delimiter, commas may be decimal
        forms = [PLAIN, *(n for n in NUMBER_FORMATS if n.decimal == "."), *forms]
    most = max(forms, key=lambda form: sum(form in column.forms for column in columns))
    for column in columns:
        column.numbers = most if column.forms or "string" in column.can else PLAIN


def _blocks(path: Path, encoding: str, profile: FileProfile) -> Iterator[Block]:
    if profile.format == "parquet":
        return _parquet(path)
    return (_json if profile.format == "json" else _csv)(path, encoding, profile)


def _parquet(path: Path) -> Iterator[Block]:
    for batch in pq.ParquetFile(path).iter_batches(16_384):
        yield dict(zip(_unique(batch.schema.names), map(_plain, batch.columns), strict=True))


def _plain(values: pa.Array) -> pa.Array:
    """Values of a type that all functions of Arrow support."""
    t, kind = pa.types, values.type
    plain = next((to for test, to in ((t.is_string_view, pa.string()), (t.is_binary_view, pa.binary())) if test(kind)), kind)
    return values.cast(plain) if plain != kind else values


def _json(path: Path, encoding: str, profile: FileProfile) -> Iterator[Block]:
    names: dict[str, None] = {}
    read_head(str(path), TextForm("json", encoding=codecs.lookup(encoding).name))
    with _open(path, encoding) as lines:
        while block := list(islice(lines, 10_000)):
            rows = [row for line in block if line.strip() and (row := _object(line, profile)) is not None]
            names |= dict.fromkeys(name for row in rows for name in row)
            yield {name: _array([row.get(name) for row in rows]) for name in _unique([*names])}


def _object(line: str, profile: FileProfile) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    profile.bad[NO_OBJECT] += not isinstance(row, dict)
    return row if isinstance(row, dict) else None


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values} - {type(None)}
    try:
        if kinds and (kinds <= {int, float} or kinds == {bool}):
            return pa.array(values, pa.float64() if float in kinds else None)
    except (OverflowError, pa.ArrowInvalid):  # whole numbers beyond 64 bits, or that a double rounds
        pass
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _csv(path: Path, encoding: str, profile: FileProfile) -> Iterator[Block]:
    head = _head(str(path), encoding)
    profile.delimiter, profile.separator = head.form.delimiter, bool(head.skipped)
    header = [*head.form.names]
    names = _named(header)
    if names[1:] != header[1:] or (header[0].strip() and names != header):
        profile.header = names
    form = head.form._replace(names=tuple(names), escape=profile.escape, nulls=tuple(profile.nulls))
    head = head._replace(form=form._replace(multi_line=profile.multi_line or form.multi_line))
    if not profile.rows:
        head = _guessed(str(path), head, profile)
    for part in read_parts(str(path), head):
        profile.multi_line |= head.form.multi_line or _breaks(part)
        _count_bad(profile, path, part, encoding)
        yield {name: _blank_is_null(values.combine_chunks()) for name, values in zip(names, part.rows.columns, strict=True)}


def _guessed(path: str, head: Head, profile: FileProfile) -> Head:
    """The head with escapes, line breaks and words for missing values as the first part of the file suggests."""
    first = _first(path, head)
    if any('\\"' in bad.raw for bad in first.bad):
        other = head._replace(form=head.form._replace(escape="\\"))
        if len(_first(path, other).bad) < len(first.bad):
            head, first, profile.escape = other, _first(path, other), "\\"
    if _breaks(first):
        head = head._replace(form=head.form._replace(multi_line=True))
        first = _first(path, head)
    if words := null_words(first.rows):
        other = head._replace(form=head.form._replace(nulls=tuple(words)))
        left = null_words(_first(path, other).rows)  # words in quotes
        profile.nulls = [word for word in words if word not in left]
        head = head._replace(form=head.form._replace(nulls=tuple(profile.nulls)))
    return head


def _first(path: str, head: Head) -> FilePart:
    return next(read_parts(path, head), FilePart(pa.table({}), np.zeros(0, np.int64), [], 0, 0, 0))


def _head(path: str, encoding: str) -> Head:
    """The header, read with the delimiter that yields the most names."""
    heads, failed = [], None
    likely = "\t" if delimiter_of(path, None) == "\t" else ",\t;|"
    for delimiter, multi_line in product(likely, (False, True)):
        form = TextForm(delimiter=delimiter, encoding=codecs.lookup(encoding).name, multi_line=multi_line)
        try:
            heads.append(read_head(path, form))
        except DataError as error:
            failed = failed or error
    if failed and not heads:
        raise DataError(_garbled(path, encoding) or str(failed)) from failed
    return max(heads, key=lambda head: len(head.form.names))


def _breaks(part: FilePart) -> bool:
    return any(bad.reason == BREAKS for bad in part.bad)


def _count_bad(profile: FileProfile, path: Path, part: FilePart, encoding: str) -> None:
    for bad in part.bad:
        if bad.reason.startswith("the line is not ") and (sentence := _garbled(str(path), encoding)):
            raise DataError(sentence)
        profile.bad[bad.reason] += 1


def _named(header: list[str]) -> list[str]:
    """The header with missing, reserved and repeated names replaced; case is ignored."""
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
            note = "" if other == name else f" (as `{other}`; Spark ignores case in names)"
            raise DataError(f"the column name `{name}` occurs twice{note}; rename one (or is the header missing?)")
        folded[name.casefold()] = name
    return names


def _open(path: Path, encoding: str) -> IO[str]:
    """Lines of text without a byte order mark; `.gz` files are unpacked."""
    encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    return io.TextIOWrapper(io.BufferedReader(pa.input_stream(path)), encoding, newline="")


# € and typographic quotes of Windows-1252, which Latin-1 lacks.
_ONLY_WINDOWS = re.compile(rb"[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")


def _garbled(path: str, encoding: str) -> str | None:
    """Message about the first line that is not text in this encoding."""
    with io.BufferedReader(pa.input_stream(path)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                fault = f"{path}, line {number} is not {encoding.upper()} (byte {line[error.start]:#04x})"
                if not _ONLY_WINDOWS.search(line + b"".join(islice(lines, 1_000))):
                    return f"{fault}; save the file as UTF-8 or name its encoding, as in `--encoding windows-1252`"
                return f"{fault}; it looks like Windows-1252, in which {_shown(line)}: try `--encoding windows-1252`"
    return None


def _shown(line: bytes) -> str:
    at = re.search(rb"\S*[\x80-\xff]\S*", line)
    return f"this is `{at[0].decode('cp1252', 'replace'):.40}`" if at else "it is text"


def _blank_is_null(values: pa.Array) -> pa.Array:
    blank = pc.equal(pc.ascii_trim_whitespace(values), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)
