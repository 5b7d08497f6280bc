"""Reads the files of a source: CSV and JSON lines by keyfold's readers, Parquet, Delta, and images."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from keyfold.conf.columns import Columns, declared_columns, is_own
from keyfold.core import sql
from keyfold.core.names import FILE
from keyfold.engine.columns import lit
from keyfold.engine.engine import Engine
from keyfold.engine.frame import Computed
from keyfold.engine.tables import Table
from keyfold.ingestion import parquet_files, text_files
from keyfold.ingestion.source_rows import SourceRows, raw_json, row_types, source_names
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.formats import IMAGES, default_delimiter, format_of
from keyfold.readers.paths import local_path, partition_columns
from keyfold.readers.text_form import TextForm


def text_form(path: str, csv: CsvOptions | None, names: Sequence[str] = ()) -> TextForm:
    """The form of a text source; `names` are the keys to read from JSON lines."""
    if format_of(path) == "json":
        return TextForm("json", tuple(names))
    return TextForm(csv=csv or CsvOptions(), default_delimiter=default_delimiter(path))


def read_source(
    engine: Engine, path: str, columns: Columns, csv: CsvOptions | None, files: Sequence[str] = (), zone: str | None = None,
    needed: Sequence[str] | None = None,
) -> SourceRows:  # fmt: skip
    """The rows of a source, or of some of its files, with REASON, RAW and FILE (DataError for an empty file or another header).

    needed: if given, only rows with a reason, or without a value in one of these columns, have their raw text.
    """
    kind = format_of(path)
    if kind == "parquet":
        wanted, format_ = declared_columns(columns), (csv or CsvOptions()).text_format(zone)
        return SourceRows(parquet_files.read_parquet(engine, path, wanted, format_, files, needed))
    if kind == "delta":
        return _read_delta(engine, path, needed)
    if kind == "images":
        return _read_images(engine, path, files)
    return _read_text(engine, path, columns, csv, files, zone, needed)


def _read_delta(engine: Engine, path: str, needed: Sequence[str] | None) -> SourceRows:
    rows = delta_source(engine, path).frame()
    own = [name for name in rows.columns if is_own(name)]
    note = f"{path}: {', '.join(map('`{}`'.format, own))} are keyfold's own columns of that table, and left out"
    rows = rows.drop(*own)
    return SourceRows(rows.compute(raw_json(rows.columns, needed)).with_columns({FILE: lit(path)}), [note] * bool(own))


def delta_source(engine: Engine, path: str) -> Table:
    """The Delta table in a folder."""
    if (local := local_path(path)) is not None:
        return Table(engine, path, Path(os.path.abspath(local)))  # noqa: PTH100 - links stay
    table = Table(engine, path, None)
    table.store.at = f"delta.{sql.quote_identifier(path)}"
    return table


def _read_images(engine: Engine, path: str, files: Sequence[str]) -> SourceRows:
    """A row per image: `path` (folder and name), `folder` (its class, if each class has a folder) and `image`, its bytes."""
    names = [*files] or source_names(engine, path)
    images = [name for name in names if name.lower().endswith(IMAGES)]
    notes = []
    if others := {*names} - {*images}:
        notes = [f"{path}: {len(others):,} files have no suffix of an image, such as {min(others)}; they are left out"]
    rows = engine.read_files(images).rename({"file": FILE, "content": "image"}).compute(_IMAGE_NAMES)
    return SourceRows(rows.select(["path", "folder", "image", FILE]).compute(raw_json(["path"])), notes)


def _names_of_images(batch: pa.RecordBatch) -> list[pa.Array]:
    parts = [name.split("/")[-2:] for name in batch[FILE].to_pylist()]
    return [pa.array(map("/".join, parts), pa.string()), pa.array([folder for folder, _ in parts], pa.string())]


_PARTS = f"split({FILE}, '/')"
_IMAGE_NAMES = Computed(
    {"path": pa.string(), "folder": pa.string()}, _names_of_images,
    [f"array_join(slice({_PARTS}, -2, 2), '/')", f"element_at({_PARTS}, -2)"],
)  # fmt: skip


def _read_text(
    engine: Engine, path: str, columns: Columns, csv: CsvOptions | None, files: Sequence[str], zone: str | None,
    needed: Sequence[str] | None,
) -> SourceRows:  # fmt: skip
    """Typed rows of CSV or JSON lines, also with LINE and clock faults."""
    names = [*files] or source_names(engine, path)
    wanted = declared_columns(columns)
    form = text_form(path, csv, [column.name for column in wanted.values()])
    is_local = local_path(path) is not None
    texts = text_files.local_text_files(names, form) if is_local else text_files.remote_text_files(engine, names, form)
    folders = partition_columns(path, [*texts.heads])
    if form.kind == "json":
        in_folders = next(iter(folders.values()), {})
        texts = texts.with_keys([column.name for column in wanted.values() if column.name not in in_folders])
    text_files.check_header(texts, folders, wanted)
    types = row_types([*texts.names, *next(iter(folders.values()))], wanted, (csv or CsvOptions()).text_format(zone), needed)
    return SourceRows(texts.frame(engine, folders, types), texts.notes())
