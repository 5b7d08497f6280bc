"""The start of CSV, JSON-lines or Parquet files, read in blocks without Spark: what their columns hold."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from keyfold.columns import PATTERNS, Block, Column
from keyfold.errors import ConfError, DataError, nearest
from keyfold.formats import NUMBERS, PLAIN, Numbers
from keyfold.sources import CHARSETS, delimiter_of, format_of, local_files

LIMIT = 200_000_000  # bytes
SAMPLE = 20_000  # rows that are kept at least, where there are so many
NUMBERED = "_c0"  # the name of a first column without one


@dataclass
class Seen:
    """The columns of files, in their order, and what else is worth telling of them."""

    format: str  # csv, json or parquet
    files: list[str]
    columns: dict[str, Column] = field(default_factory=dict)
    rows: int = 0
    bad: int = 0  # lines that are not rows
    cut: bool = False  # there is more than was read
    delimiter: str = ","
    encoding: str = "utf-8"  # by Spark's name
    multi_line: bool = False  # a quoted text holds a line break
    separator: bool = False  # the first line is `sep=;`, as Excel writes it
    header: list[str] | None = None  # names in place of the header's, of which some are missing or repeated
    partitions: list[str] = field(default_factory=list)  # columns that folders give
    other: str | None = None  # a file that has other columns than the first
    sample: "Sample" = field(default_factory=lambda: Sample())

    @property
    def numbers(self) -> Numbers:
        """How the numbers of the files are written."""
        return next((column.numbers for column in self.columns.values()), PLAIN)


class Sample:
    """Rows from all over what was read, `SAMPLE` to twice as many, once there are as many."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._every, self._seen, self.rows = 1, 0, 0

    def add(self, block: Block) -> None:
        """Take in every so many-th row."""
        rows = len(next(iter(block.values()), ()))
        self._keep(block, range(-self._seen % self._every, rows, self._every))
        self._seen += rows
        if self.rows > 2 * SAMPLE:
            blocks, self._blocks, self.rows = self._blocks, [], 0
            places = 0
            for some in blocks:
                n = len(next(iter(some.values()), ()))
                self._keep(some, range(places % 2, n, 2))
                places += n
            self._every *= 2

    def _keep(self, block: Block, places: range) -> None:
        if len(places):
            self._blocks.append({name: values.take(pa.array(places)) for name, values in block.items()})
            self.rows += len(places)

    def column(self, name: str) -> pa.Array:
        """A column of the sample; as text where blocks have it in several types."""
        sizes = [len(next(iter(block.values()))) for block in self._blocks]
        found = [block.get(name, pa.nulls(n)) for block, n in zip(self._blocks, sizes, strict=True)]
        kinds = {values.type for values in found if not pa.types.is_null(values.type)}
        kind = kinds.pop() if len(kinds) == 1 else pa.string()
        return pa.concat_arrays([values.cast(kind) for values in found]) if found else pa.nulls(0, kind)


# What text may turn out to be: a JSON number is one already, and so is all of Parquet.
_CASTABLE = {"csv": frozenset(PATTERNS), "json": frozenset({"date", "timestamp"}), "parquet": frozenset[str]()}


def see(
    path: str, encoding: str = "utf-8", each: Callable[[Block, int], None] = lambda _, __: None, limit: int | None = None
) -> Seen:
    """The columns of the first `limit` bytes (default: `LIMIT`) of a file, a folder or a pattern; `each` is called with every block and its file's number.

    ConfError where there is no such file or encoding, DataError where it is empty, garbled or of a kind that is not read.
    """
    files = found(path)
    seen = Seen(format_of(path if len(files) == 1 else files[0]), files, encoding=_charset(encoding))
    _refuse_kind(seen, path)
    size = 0
    for number, file in enumerate(files):
        seen.cut |= size >= (limit or LIMIT)
        if not seen.cut:
            size = _take_file(seen, path, number, size, limit or LIMIT, encoding, each)
    if not seen.rows:
        wrong = f"no JSON object in its {seen.bad:,} lines; one a line is needed" if seen.format == "json" else "no rows"
        raise DataError(f"{path} has {wrong if seen.bad else 'no rows'}")
    _settle(seen)
    return seen


def found(path: str) -> list[str]:
    """The files that a path, folder or pattern stands for, without hidden ones (ConfError where there is none)."""
    at = Path(path)
    files = [path] if at.is_file() else local_files(path) or []
    root = str(at) if at.is_dir() else ""
    files = [file for file in files if not root or not re.search(r"(^|/)[._]", file.removeprefix(root))]
    if files:
        return files
    if at.is_dir():
        raise ConfError(f"the folder `{path}` has no files (names that begin with . or _ are hidden)")
    names = [p.name for p in at.parent.iterdir()] if at.parent.is_dir() else []
    raise ConfError(f"there is no file `{path}`{nearest(at.name, names)}")


_ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive", b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive", b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz", b"\x28\xb5\x2f\xfd": "packed by zstd", b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}  # fmt: skip


def _refuse_kind(seen: Seen, path: str) -> None:
    if seen.format in ("delta", "images"):
        what = "a Delta table; name it by data.table" if seen.format == "delta" else "pictures; see `image` and `images` in the README"
        raise ConfError(f"`{path}` is {what}: init looks at CSV, JSON-lines and Parquet files")
    with Path(seen.files[0]).open("rb") as file:
        start = file.read(8)
    if kind := next((kind for magic, kind in _ARCHIVES.items() if start.startswith(magic)), None):
        excel = "Excel" in kind or seen.files[0].lower().endswith((".xlsx", ".xlsm", ".ods"))
        what = "a workbook; save its sheet as CSV (UTF-8)" if excel else f"{kind}; unpack it"
        raise DataError(f"{seen.files[0]} is {what}")
    if start.startswith(b"\x1f\x8b") and not seen.files[0].lower().endswith(".gz"):
        raise DataError(f"{seen.files[0]} is packed by gzip, but its name does not end in .gz; rename it")


def _charset(encoding: str) -> str:
    try:
        return CHARSETS[codecs.lookup(encoding).name]
    except LookupError:
        known = ", ".join(dict.fromkeys(CHARSETS.values()))
        raise ConfError(f"--encoding must be one of {known} (got `{encoding}`); convert the file to UTF-8") from None


def _take_file(seen: Seen, path: str, number: int, size: int, limit: int, encoding: str, each: Callable[[Block, int], None]) -> int:
    file = seen.files[number]
    folders = dict(re.findall(r"(?<=/)([^/=]+)=([^/]*)(?=/)", file.removeprefix(path))) if Path(path).is_dir() else {}
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
            if before and [*whole] != before and seen.format != "json":
                seen.other = seen.other or file
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise DataError(_garbled(file, encoding) or f"{file} cannot be read: {error}") from error
    except (OSError, EOFError, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    return size


def _take(seen: Seen, block: Block, rows: int) -> None:
    seen.rows += rows
    for name, values in block.items():
        castable = frozenset(PATTERNS) if name in seen.partitions else _CASTABLE[seen.format]
        seen.columns.setdefault(name, Column(name)).add(values, castable)
    seen.sample.add(block)


def _settle(seen: Seen) -> None:
    """All columns have the one form of numbers that makes most of them numbers; of several the plainest."""
    columns = seen.columns.values()
    forms = [PLAIN, *(n for n in NUMBERS if n.decimal == ","), *(n for n in NUMBERS if n.decimal == ".")]
    if seen.delimiter == ",":  # else it stands where a decimal comma would
        forms = [PLAIN, *(n for n in NUMBERS if n.decimal == "."), *forms]
    most = max(forms, key=lambda form: sum(form in column.forms for column in columns))
    for column in columns:
        column.numbers = most if column.forms or "string" in column.can else PLAIN


def _blocks(path: Path, encoding: str, seen: Seen) -> Iterator[Block]:
    match seen.format:
        case "parquet":
            return _parquet(path)
        case "json":
            return _json(path, encoding, seen)
    return _csv(path, encoding, seen)


def _parquet(path: Path) -> Iterator[Block]:
    for batch in pq.ParquetFile(path).iter_batches(16_384):
        yield dict(zip(_unique(batch.schema.names), batch.columns, strict=True))


def _json(path: Path, encoding: str, seen: Seen) -> Iterator[Block]:
    names: dict[str, None] = {}
    with _open(path, encoding) as lines:
        while some := list(islice(lines, 10_000)):
            rows = [row for line in some if line.strip() and (row := _object(line, seen)) is not None]
            names |= dict.fromkeys(name for row in rows for name in row)
            yield {name: _array([row.get(name) for row in rows]) for name in _unique([*names])}


def _object(line: str, seen: Seen) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    seen.bad += not isinstance(row, dict)
    return row if isinstance(row, dict) else None


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values} - {type(None)}
    try:
        if kinds and (kinds <= {int, float} or kinds == {bool}):
            return pa.array(values, pa.float64() if float in kinds else None)
    except (OverflowError, pa.ArrowInvalid):  # whole numbers beyond 64 bits, or that a double would round
        pass
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _csv(path: Path, encoding: str, seen: Seen) -> Iterator[Block]:
    header, lines = _header(path, encoding, seen)
    names = _named(header)
    if names != header and names[1:] + header[:1] != header[1:] + [""]:
        seen.header = names

    def skip(_: Any) -> str:
        seen.bad += 1
        return "skip"

    reader = pacsv.open_csv(
        pa.input_stream(path),
        pacsv.ReadOptions(use_threads=False, block_size=4 << 20, encoding=encoding, skip_rows=lines, column_names=names),
        pacsv.ParseOptions(delimiter=seen.delimiter, newlines_in_values=True, invalid_row_handler=skip),
        pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    for batch in reader:
        seen.multi_line |= any(pc.any(pc.match_substring(values, "\n")).as_py() for values in batch.columns)
        yield {name: _blank_is_null(values) for name, values in zip(names, batch.columns, strict=True)}


def _header(path: Path, encoding: str, seen: Seen) -> tuple[list[str], int]:
    """The names in the first line that is not blank, and how many lines there are with it; notes the delimiter."""
    with _open(path, encoding) as lines:
        some = [line for line in islice(lines, 40)]
    before = next((i for i, line in enumerate(some) if line.strip()), None)
    if before is None:
        raise DataError(f"{path} is empty")
    likely = "\t" if delimiter_of(str(path), None) == "\t" else ",\t;|"
    if said := re.match("(?i)sep=([^\r\n])", some[before]):
        seen.separator, likely, before = True, said[1], before + 1
    readers = {d: csv.reader(some[before:], delimiter=d) for d in likely}
    split = {d: next(reader, []) for d, reader in readers.items()}
    seen.delimiter = max(split, key=lambda d: len(split[d]))
    if not split[seen.delimiter]:
        raise DataError(f"{path} has no header")
    return split[seen.delimiter], before + readers[seen.delimiter].line_num


def _named(header: list[str]) -> list[str]:
    """The header with a name for each column that has none, and another for each that repeats one; case does not count."""
    taken = {name.casefold() for name in header}
    names: list[str] = []
    for place, name in enumerate(header, 1):
        fresh = name if name.strip() else NUMBERED if place == 1 else f"column_{place}"
        number = 2
        while fresh.casefold() in {n.casefold() for n in names} or (fresh != name and fresh.casefold() in taken):
            fresh, number = f"{name.strip() or f'column_{place}'}_{number}", number + 1
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


_ONLY_WINDOWS = re.compile(rb"[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")  # € and typographic quotes; in Latin-1 these are no characters


def _garbled(path: str, encoding: str) -> str | None:
    """The sentence for the first line that is not text in this encoding."""
    with io.BufferedReader(pa.input_stream(path)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                what = f"{path}, line {number} is not {encoding.upper()} (byte {line[error.start]:#04x})"
                if not _ONLY_WINDOWS.search(line + b"".join(islice(lines, 1_000))):
                    return f"{what}; save the file as UTF-8 or name its encoding, as in `--encoding latin-1`"
                how = "name its encoding, `--encoding windows-1252`" if "cp1252" in CHARSETS else "save it as UTF-8"
                return f"{what}; it looks like Windows' own encoding, in which {_shown(line)}; {how}, or convert it: {_convert(path)}"
    return None


def _shown(line: bytes) -> str:
    at = re.search(rb"\S*[\x80-\xff]\S*", line)
    return f"this is `{at[0].decode('cp1252', 'replace'):.40}`" if at else "it is text"


def _convert(path: str) -> str:
    return f"iconv -f WINDOWS-1252 -t UTF-8 {path} > utf8_{Path(path).name}"


def _blank_is_null(values: pa.Array) -> pa.Array:
    blank = pc.equal(pc.ascii_trim_whitespace(values), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)
