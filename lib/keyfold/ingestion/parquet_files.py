"""Reads Parquet files: by Arrow in an engine's tasks, or by Spark from another file system; folders as columns, times exact."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.columns import DeclaredColumn, check_folders, check_names, origins
from keyfold.core.json_texts import row_jsons
from keyfold.core.names import FILE, RAW, REASON
from keyfold.core.texts import value_texts
from keyfold.engine import spark_files
from keyfold.engine.arrow_types import arrow_type, type_name
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Frame
from keyfold.errors import DataError, suggestion
from keyfold.ingestion.source_rows import row_types, source_names
from keyfold.readers import parquet
from keyfold.readers.arrow_values import bools
from keyfold.readers.casts import TextFormat
from keyfold.readers.opening import UNREADABLE
from keyfold.readers.parquet import FileForm, PlainRows
from keyfold.readers.paths import local_path, partition_columns
from keyfold.readers.rows import FolderColumns, repeat_text
from keyfold.readers.typed_rows import RowTypes, TypedRows, cast_rows, raw_texts

_READ_FILE = "keyfold_read_file"
_TASKS = 16  # for each one that runs at once, at most


def read_parquet(
    engine: Engine, path: str, wanted: Mapping[str, DeclaredColumn], format_: TextFormat, files: Sequence[str] = (),
    needed: Sequence[str] | None = None,
) -> Frame:  # fmt: skip
    """The rows of Parquet files with REASON, RAW and FILE (DataError if their columns differ, or have a type that is not read).

    needed: if given, only rows with a reason, or without a value in one of these columns, have their raw text.
    """
    is_local = local_path(path) is not None
    names = [*files] or source_names(engine, path)
    folders = partition_columns(path, names)
    in_folders = [*next(iter(folders.values()), {})]
    remote = None if is_local else spark_files.read_parquet(engine.spark, names, _READ_FILE)
    forms = read_forms(names) if is_local else {}
    types = remote.arrow_types(remote.columns[:-1]) if remote else _plain_types(forms)
    check_folders(names[0] if names else path, [*types], in_folders)
    _check_columns(path, {**types, **dict.fromkeys(in_folders, pa.string())}, wanted, in_folders)
    as_numbers = is_local and not any(
        form.has_rare_types for form in forms.values()
    )  # as in the content keys of earlier releases
    reader = _Reader(types, origins(wanted), row_types(in_folders, wanted, format_, ()), folders, needed, as_numbers)
    if remote:
        return remote.map_batches(reader.of_batches, reader.schema)
    return engine.map_tasks(reader.of_row_groups, _tasks(engine, forms), reader.schema)


def _plain_types(forms: Mapping[str, FileForm]) -> dict[str, pa.DataType]:
    """The plain types of the columns (DataError for names that Spark takes for one)."""
    file, form = next(iter(forms.items()))
    if repeated := next((n for n, times in Counter(map(str.casefold, form.schema.names)).items() if times > 1), None):
        raise DataError(f"{file} has several columns `{repeated}`, which Spark takes for one name; rename one")
    return {field.name: field.type for field in form.plain}


def _check_columns(
    path: str, types: Mapping[str, pa.DataType], wanted: Mapping[str, DeclaredColumn], in_folders: Sequence[str]
) -> None:  # fmt: skip
    """DataError if a name is unfit, a renamed column is absent, or is not of the type that the conf gives."""
    check_names(path, [*types], wanted)
    for name, column in wanted.items():
        if column.name == name or column.name in in_folders:
            continue
        if column.name not in types:
            raise DataError(f"data.columns.{name}: {path} has no column `{column.name}`{suggestion(column.name, types)}")
        if (found := type_name(types[column.name])) != column.declared:
            raise DataError(f"data.columns.{name}: `{column.name}` of {path} is {found}, not {column.declared}")


class _Group(NamedTuple):
    """A row group of a file."""

    file: str
    number: int


def _tasks(engine: Engine, forms: Mapping[str, FileForm]) -> list[list[_Group]]:
    groups = [_Group(file, group) for file, form in forms.items() for group in range(form.groups)]
    n = min(len(groups), _TASKS * engine.tasks)
    return [groups[len(groups) * i // n : len(groups) * (i + 1) // n] for i in range(n)]


@dataclass(frozen=True)
class _Reader:
    """Input of a worker: types by column of the files, names in the table of renamed columns, types of folder columns, folders by file.

    as_numbers: whether the raw text of a row that is kept has times of nanoseconds as numbers.
    """

    types: Mapping[str, pa.DataType]
    renamed: Mapping[str, str]
    in_folders: RowTypes
    folders: Mapping[str, FolderColumns]
    needed: Sequence[str] | None
    as_numbers: bool

    @property
    def schema(self) -> dict[str, pa.DataType]:
        columns = {self.renamed.get(name, name): type_ for name, type_ in self.types.items()}
        own = {column.name: column.type for column in self.in_folders.columns} | dict.fromkeys((REASON, RAW, FILE), "string")
        return columns | {name: arrow_type(type_) for name, type_ in (own | self.in_folders.faults()).items()}

    def of_row_groups(self, groups: Sequence[_Group]) -> Iterator[pa.RecordBatch]:
        """The rows of row groups of local files (DataError for one that is broken)."""
        for file, group in groupby(groups, itemgetter(0)):
            try:
                for plain in parquet.read_plain(file, [number for _, number in group]):
                    n = plain.rows.num_rows
                    yield self._typed(plain, [repeat_text(text, n) for text in self.folders[file].values()], repeat_text(file, n))
            except (pa.ArrowInvalid, OSError) as error:
                raise DataError(f"{file} {UNREADABLE}") from error

    def of_batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows that Spark has read."""
        for batch in batches:
            file = batch[_READ_FILE].dictionary_encode()
            folders = [self.folders.get(name, {}) for name in file.dictionary.to_pylist()]
            texts = [
                pa.array([folder.get(column.origin) for folder in folders], pa.string()).take(file.indices)
                for column in self.in_folders.columns
            ]
            yield self._typed(PlainRows(batch.drop_columns([_READ_FILE]), {}, {}), texts, file.dictionary_decode())

    def _typed(self, plain: PlainRows, texts: list[pa.Array], file: pa.Array) -> pa.RecordBatch:
        reason = self._lost_digits(plain)
        folder = cast_rows(texts, self.in_folders, reason) if texts else TypedRows([], reason, reason, [])
        columns = [plain.rows[name].cast(type_) for name, type_ in self.types.items()]
        values = dict(zip(self.schema, [*columns, *folder.values], strict=False))
        raw = raw_texts(folder.reason, values, self.needed, self._as_read(plain, texts), self._json)
        if any(text.null_count < len(text) for text in plain.lost.values()):
            raw = self._with_lost_texts(raw, plain, texts)
        return pa.RecordBatch.from_arrays([*values.values(), folder.reason, raw, file, *folder.faults], [*self.schema])

    def _lost_digits(self, plain: PlainRows) -> pa.Array:
        """Why rows with times of nanoseconds cannot be kept."""
        nothing = pa.scalar(None, pa.string())
        reasons = [
            pc.if_else(text.is_valid(), parquet.LOSES_NANOSECONDS.format(self.renamed.get(name, name)), nothing)
            for name, text in plain.lost.items()
        ]
        return pc.coalesce(*reasons, pa.nulls(plain.rows.num_rows, pa.string()))

    def _as_read(self, plain: PlainRows, texts: list[pa.Array]) -> pa.RecordBatch:
        numbers = plain.nanos if self.as_numbers else {}
        columns = [numbers.get(name, plain.rows[name]) for name in self.types]
        return pa.RecordBatch.from_arrays(
            [*columns, *texts], [*self.types, *(column.origin for column in self.in_folders.columns)]
        )

    def _with_lost_texts(self, raw: pa.Array, plain: PlainRows, texts: list[pa.Array]) -> pa.Array:
        """Raw texts, of which those of rows that lose digits have the digits."""
        lossy = pa.array(np.any([bools(text.is_valid()) for text in plain.lost.values()], axis=0))
        whole = {name: pc.coalesce(text, value_texts(plain.rows[name])) for name, text in plain.lost.items()}
        columns = [whole.get(name, plain.rows[name]) for name in self.types]
        rows = pa.RecordBatch.from_arrays([*columns, *texts], self._as_read(plain, texts).schema.names)
        return pc.replace_with_mask(raw, lossy, self._json(rows.filter(lossy)))

    @staticmethod
    def _json(rows: pa.RecordBatch) -> pa.Array:
        return row_jsons(rows, rows.schema.names, exact=True)


def read_forms(files: Sequence[str]) -> dict[str, FileForm]:
    """The forms of local files (DataError if their columns differ, or have a type that is not read)."""
    forms: dict[str, FileForm] = {}
    for file in files:
        try:
            forms[file] = form = parquet.read_form(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} {UNREADABLE}") from error
        if file == files[0]:
            check_types(file, form.schema)
            plain = form.plain
        if odd := _different_columns(form.schema, forms[files[0]].schema) or _different_columns(form.plain, plain):
            raise DataError(
                f"{file} has different columns from {files[0]}: `{'`, `'.join(odd)}`; declare each layout as one of data.versions"
            )
    return forms


def _different_columns(schema: pa.Schema, other: pa.Schema) -> list[str]:
    types, others = ({field.name: str(field.type) for field in fields} for fields in (schema, other))
    return sorted(dict(types.items() ^ others.items()))


def check_types(file: str, schema: pa.Schema) -> None:
    """DataError for a column of a type that is not read."""
    for field in schema:
        nested = _inner_types(field.type)
        for inner in nested:
            if kind := _unread_kind(inner, within=len(nested) > 1):
                raise DataError(
                    f"{file}: the column `{field.name}` is {kind}, which is not supported; write it as {_INSTEAD[kind]}"
                )


_INSTEAD = {
    "a time of day within another type": "text",
    "a UUID within another type": "text",
    "a number of 16 bits within another type": "a float",
    "a decimal of more than 38 digits": "text, or a decimal of fewer digits",
    "an interval": "a number",
    "a time of nanoseconds within another type": "a column of its own",
    "NULL throughout, without a type": "a column of some type",
}


def _unread_kind(type_: pa.DataType, *, within: bool) -> str | None:
    """The key of `_INSTEAD` for a type that is not read; `within`: inside another type."""
    t = pa.types
    tests = {
        "a time of day within another type": within and t.is_time(type_),
        "a UUID within another type": within and parquet.is_uuid(type_),
        "a number of 16 bits within another type": within and t.is_float16(type_),
        "a decimal of more than 38 digits": t.is_decimal256(type_) and type_.precision > 38,
        "an interval": t.is_interval(type_) or t.is_duration(type_),
        "a time of nanoseconds within another type": within and t.is_timestamp(type_) and type_.unit == "ns",
        "NULL throughout, without a type": t.is_null(type_),
    }
    return next((kind for kind, matches in tests.items() if matches), None)


def _inner_types(type_: pa.DataType) -> list[pa.DataType]:
    """A type and those within it."""
    children = [type_.field(i).type for i in range(type_.num_fields)] if type_.num_fields else []
    children += [type_.value_type] if pa.types.is_dictionary(type_) else []
    return [type_, *(inner for child in children for inner in _inner_types(child))]
