"""Profiles the columns of CSV, JSON-lines or Parquet files from their first bytes, as `ingest` reads them, without Spark."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keyfold.conf.columns import check_folders
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.ingestion.parquet_files import check_types
from keyfold.ingestion.sources import text_form
from keyfold.profiling.column_profile import TYPE_PATTERNS, Block, ColumnProfile
from keyfold.profiling.csv_detection import detect_form, encoding_fault, encoding_of
from keyfold.profiling.key_counts import KeyCounts
from keyfold.profiling.row_sample import RowSample
from keyfold.profiling.value_formats import NUMBER_FORMATS, PLAIN, NumberFormat
from keyfold.readers.blocks import Head, read_head
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.csv_records import BREAKS
from keyfold.readers.formats import default_delimiter, format_of
from keyfold.readers.jsonlines import json_kinds
from keyfold.readers.opening import refuse_archives
from keyfold.readers.parquet import LOSES_NANOSECONDS, read_plain
from keyfold.readers.paths import local_files, partition_columns
from keyfold.readers.rows import NUMBERED, FolderColumns, Rows, file_rows, name_first_column, repeat_text
from keyfold.readers.text_form import BadLine, TextForm

LIMIT = 200_000_000  # bytes


@dataclass
class FileProfile:
    """Columns of files, in their order, and the reading options that the files need."""

    format: str  # csv, json or parquet
    files: list[str]
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    rows: int = 0
    empty: int = 0  # JSON objects before the first one with a key
    bad: Counter[str] = field(default_factory=Counter)  # lines that are not rows, by reason
    cut: bool = False  # only the beginning of the files was read
    csv: CsvOptions = field(default_factory=CsvOptions)  # `delimiter` is None for commas
    separator: bool = False  # the first line is `sep=;`, as Excel writes it
    header: list[str] | None = None  # corrected names, if the header has missing, repeated or reserved ones
    partitions: list[str] = field(default_factory=list)  # columns from the names of folders
    other: str | None = None  # a file whose columns differ from those of the first
    sample: RowSample = field(default_factory=RowSample)

    @property
    def numbers(self) -> NumberFormat:
        """Format of the numbers of the files."""
        return next((column.numbers for column in self.columns.values()), PLAIN)


# Types that text may hold; JSON numbers and Parquet columns have theirs.
_CASTABLE = {"csv": frozenset(TYPE_PATTERNS), "json": frozenset({"date", "timestamp"}), "parquet": frozenset[str]()}


def profile_files(path: str, encoding: str = "utf-8", keys: KeyCounts | None = None, limit: int | None = None) -> FileProfile:
    """Profile of the first `limit` bytes (default: `LIMIT`) of a file, a folder or a pattern; counts `keys` in the same rows.

    Raises ConfError if there is no such file or encoding, DataError if a file is empty, has another encoding or is of an
    unsupported kind.
    """
    files = matching_files(path)
    format_ = format_of(path if len(files) == 1 else files[0])
    _refuse_kind(path, format_, files, encoding)
    for multi_line in (False, True):
        profile = FileProfile(format_, files, csv=CsvOptions(encoding=encoding_of(encoding), multi_line=multi_line))
        if keys:
            keys.clear()
        _take_files(profile, path, keys, limit or LIMIT)
        if multi_line or not profile.bad[BREAKS]:
            break
    if not profile.rows:
        bad = ", ".join(f"{n:,} × {reason}" for reason, n in profile.bad.items() if n)
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


def _refuse_kind(path: str, format_: str, files: list[str], encoding: str) -> None:
    others = {"delta": "a Delta table; name it by data.table", "images": "images; see `image` and `images` in the README"}
    if what := others.get(format_):
        raise ConfError(f"`{path}` is {what}: init reads CSV, JSON-lines and Parquet files")
    if format_ == "json" and encoding_of(encoding) != "utf-8":
        raise ConfError("--encoding is for CSV files; JSON lines are UTF-8")
    for file in files:
        refuse_archives(file)


def _take_files(profile: FileProfile, path: str, keys: KeyCounts | None, limit: int) -> None:
    """Adds the files up to the limit, or to a line break in quotes that the form of the files does not allow."""
    places = {file: os.path.abspath(file) for file in profile.files}  # noqa: PTH100 - links stay
    folders = partition_columns(path, [*places.values()])
    profile.partitions = [*next(iter(folders.values()))]
    form = _form(profile, path)
    size = 0
    for number, (file, place) in enumerate(places.items()):
        for block in _blocks(profile, file, folders[place], form):
            if size >= limit or (profile.bad[BREAKS] and not profile.csv.multi_line):
                profile.cut = True
                return
            size += sum(values.nbytes for name, values in block.items() if name not in profile.partitions)
            _take(profile, block)
            if keys:
                keys.add(block, number)


def _take(profile: FileProfile, block: Block) -> None:
    profile.rows += len(next(iter(block.values()), ()))
    for name, values in block.items():
        castable = frozenset(TYPE_PATTERNS) if name in profile.partitions else _CASTABLE[profile.format]
        profile.columns.setdefault(name, ColumnProfile(name)).add(values, castable)
    profile.sample.add(block)


def _settle(profile: FileProfile) -> None:
    """Gives all columns the number format that makes most of them numeric, the plainest one of several."""
    columns = profile.columns.values()
    forms = [PLAIN, *(n for n in NUMBER_FORMATS if n.decimal == ","), *(n for n in NUMBER_FORMATS if n.decimal == ".")]
    if profile.csv.delimiter is None:  # commas; with another delimiter, commas may be decimal
        forms = [PLAIN, *(n for n in NUMBER_FORMATS if n.decimal == "."), *forms]
    most = max(forms, key=lambda form: sum(form in column.forms for column in columns))
    for column in columns:
        column.numbers = most if column.forms or "string" in column.can else PLAIN


def _blocks(profile: FileProfile, file: str, folder: FolderColumns, form: TextForm) -> Iterator[Block]:
    try:
        yield from _parquet(profile, file, folder) if profile.format == "parquet" else _text(profile, file, folder, form)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def _parquet(profile: FileProfile, file: str, folder: FolderColumns) -> Iterator[Block]:
    schema = pq.read_schema(file)
    check_types(file, schema)
    check_folders(file, _unique(schema.names), [*folder])
    _take_names(profile, file, schema.names)
    for name, type_ in zip(schema.names, schema.types, strict=True):
        profile.columns[name].nanoseconds |= pa.types.is_timestamp(type_) and type_.unit == "ns"
    for rows, lost, _ in read_plain(file, size=16_384):
        is_lost = np.zeros(rows.num_rows, bool)
        for name, texts in lost.items():
            also = ~is_lost & np.asarray(texts.is_valid())
            profile.bad[LOSES_NANOSECONDS.format(name)] += int(also.sum())
            is_lost |= also
        kept = rows.filter(pa.array(~is_lost)) if is_lost.any() else rows
        values = dict(zip(schema.names, kept.columns, strict=True))
        yield values | {name: repeat_text(value, kept.num_rows) for name, value in folder.items()}


def _take_names(profile: FileProfile, file: str, names: Sequence[str]) -> None:
    """Adds the columns of a file that may have no rows; notes a file with others than the first."""
    known = {*profile.columns} - {*profile.partitions}
    if known and known != {*names}:
        profile.other = profile.other or file
    for name in names:
        profile.columns.setdefault(name, ColumnProfile(name))


def _text(profile: FileProfile, file: str, folder: FolderColumns, form: TextForm) -> Iterator[Block]:
    """The rows as `ingest` reads them; those of JSON lines with the types of their values."""
    head = name_first_column(read_head(file, form))
    if form.kind == "csv":
        head = _with_sound_names(profile, head)
        check_folders(file, head.form.names, [*folder])
        _take_names(profile, file, head.form.names)
    for rows in file_rows(file, head, folder):
        _count_bad(profile, file, rows.bad)
        if block := _block(profile, rows):
            yield {name: pa.concat_arrays([pa.nulls(profile.empty, v.type), v]) for name, v in block.items()}
        profile.empty = 0 if block else profile.empty + len(rows.lines)


def _block(profile: FileProfile, rows: Rows) -> Block:
    """The rows with all columns so far; a key of JSON lines keeps the spelling of its first occurrence."""
    spelled = {name.casefold(): name for name in profile.columns}
    fields = zip(rows.kept.schema, rows.kept.columns, strict=True)
    columns = {spelled.get(f.name.casefold(), f.name): _typed(values, json_kinds(f)) for f, values in fields}
    return {name: pa.nulls(len(rows.lines), pa.string()) for name in profile.columns if name not in columns} | columns


def _with_sound_names(profile: FileProfile, head: Head) -> Head:
    """The head with names that `ingest` takes, which the profile notes."""
    names = _named([*head.form.names])
    if names != [*head.form.names]:
        profile.header = names
    return head._replace(form=head.form._replace(names=tuple(names)))


def _typed(texts: pa.Array, kinds: set[str]) -> pa.Array:
    """Text as the type of the JSON that it was, if all values have that type and keep their digits; blank text as missing."""
    try:
        if kinds == {"boolean"}:
            return texts.cast(pa.bool_())
        if kinds == {"number"}:
            is_whole = pc.invert(pc.match_substring_regex(texts, "[.eE]"))
            if pc.all(is_whole).as_py():
                return texts.cast(pa.int64())
            texts.filter(is_whole).cast(pa.int64()).cast(pa.float64())
            numbers = texts.cast(pa.float64())
            return texts if pc.any(pc.is_inf(numbers)).as_py() else numbers
    except pa.ArrowInvalid:  # whole numbers beyond 64 bits, or that a double rounds
        pass
    return texts if kinds else _blank_is_null(texts)


def _form(profile: FileProfile, path: str) -> TextForm:
    """The form of the files; the first file decides it."""
    if profile.format != "csv":
        return text_form(path, None)
    head = detect_form(profile.files[0], profile.csv, default_delimiter(path))
    profile.csv, profile.separator = head.form.csv, bool(head.skipped)
    return head.form


def _count_bad(profile: FileProfile, file: str, bad: list[BadLine]) -> None:
    for line in bad:
        if line.reason.startswith("the line is not ") and (sentence := encoding_fault(file, profile.csv.encoding)):
            raise DataError(sentence)
        profile.bad[line.reason] += 1


def _named(header: list[str]) -> list[str]:
    """The header with missing, reserved and repeated names replaced; case is ignored."""
    taken = {name.casefold() for name in header}
    names: list[str] = []
    for place, name in enumerate(header, 1):
        plain = re.sub("^(?=keyfold_|content_key$)", "former_", re.sub(r"\s*[\r\n]\s*", " ", name))
        fresh = plain if name.strip() else NUMBERED if place == 1 else f"column_{place}"
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


def _blank_is_null(values: pa.Array) -> pa.Array:
    blank = pc.equal(pc.ascii_trim_whitespace(values), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)
