"""The start of a CSV, JSON-lines or Parquet file, read in blocks without Spark: what its columns hold."""

import codecs
import csv
import io
import json
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
from keyfold.sources import CHARSETS, delimiter_of, format_of

LIMIT = 200_000_000  # bytes


@dataclass
class Seen:
    """A file's columns, in its order, and what else is worth telling of it."""

    format: str  # csv, json or parquet
    columns: dict[str, Column] = field(default_factory=dict)
    rows: int = 0
    bad: int = 0  # lines that are not rows
    cut: bool = False  # there is more than was read
    delimiter: str = ","
    encoding: str = "utf-8"  # by Spark's name
    multi_line: bool = False  # a quoted text holds a line break


# What text may turn out to be: a JSON number is one already, and so is all of Parquet.
_CASTABLE = {"csv": frozenset(PATTERNS), "json": frozenset({"date", "timestamp"}), "parquet": frozenset[str]()}


def see(path: str, encoding: str = "utf-8", each: Callable[[Block], None] = lambda _: None) -> Seen:
    """The columns of the first `LIMIT` bytes of a file; `each` is called with every block.

    ConfError where there is no such file or encoding, DataError where it is empty, garbled or repeats a column name.
    """
    _exists(Path(path))
    seen = Seen(format_of(path), encoding=_charset(encoding))
    try:
        _take(seen, _blocks(Path(path), encoding, seen), each)
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise DataError(_garbled(path, encoding) or f"{path} cannot be read: {error}") from error
    except (OSError, EOFError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not seen.rows:
        wrong = f"no JSON object in its {seen.bad:,} lines; one a line is needed" if seen.format == "json" else "no rows"
        raise DataError(f"{path} has {wrong if seen.bad else 'no rows'}")
    return seen


def _charset(encoding: str) -> str:
    try:
        return CHARSETS[codecs.lookup(encoding).name]
    except LookupError:
        known = ", ".join(CHARSETS.values())
        raise ConfError(f"--encoding must be one of {known} (got `{encoding}`); convert the file to UTF-8") from None


def _exists(path: Path) -> None:
    if path.is_dir():
        raise ConfError(f"`{path}` is a folder; give one of its files")
    if not path.is_file():
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfError(f"there is no file `{path}`{nearest(path.name, names)}")


def _take(seen: Seen, blocks: Iterator[Block], each: Callable[[Block], None]) -> None:
    size = 0
    for block in blocks:
        if size >= LIMIT:
            seen.cut = True
            return
        size += sum(values.nbytes for values in block.values())
        seen.rows += len(next(iter(block.values()), ()))
        for name, values in block.items():
            seen.columns.setdefault(name, Column(name)).add(values, _CASTABLE[seen.format])
        each(block)


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
    header, seen.delimiter = _header(path, encoding)
    if unnamed := [i for i, name in enumerate(header, 1) if not name.strip()]:
        raise DataError(f"{path}: column {unnamed[0]} of the header has no name; name it")
    _unique(header)

    def skip(_: Any) -> str:
        seen.bad += 1
        return "skip"

    reader = pacsv.open_csv(
        pa.input_stream(path),
        pacsv.ReadOptions(use_threads=False, block_size=4 << 20, encoding=encoding),
        pacsv.ParseOptions(delimiter=seen.delimiter, newlines_in_values=True, invalid_row_handler=skip),
        pacsv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
    )
    for batch in reader:
        seen.multi_line |= any(pc.any(pc.match_substring(values, "\n")).as_py() for values in batch.columns)
        yield {name: _blank_is_null(values) for name, values in zip(header, batch.columns, strict=True)}


def _header(path: Path, encoding: str) -> tuple[list[str], str]:
    """The names in the first line that is not blank, and the delimiter that gives the most of them."""
    with _open(path, encoding) as lines:
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            raise DataError(f"{path} is empty")
        some = [first, *islice(lines, 20)]
    likely = "\t" if delimiter_of(str(path), None) == "\t" else ",\t;|"
    split = {d: next(csv.reader(some, delimiter=d)) for d in likely}
    delimiter = max(split, key=lambda d: len(split[d]))
    return split[delimiter], delimiter


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


def _garbled(path: str, encoding: str) -> str | None:
    """The sentence for the first line that is not text in this encoding."""
    with io.BufferedReader(pa.input_stream(path)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                what = f"{path}, line {number} is not {encoding.upper()} (byte {line[error.start]:#04x})"
                return f"{what}; save the file as UTF-8 or name its encoding, as in `--encoding latin-1`"
    return None


def _blank_is_null(values: pa.Array) -> pa.Array:
    blank = pc.equal(pc.ascii_trim_whitespace(values), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)
