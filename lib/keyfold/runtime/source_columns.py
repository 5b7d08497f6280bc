"""The columns of a local source, from its first file."""

import os
from typing import TYPE_CHECKING

from keyfold.conf.columns import declared_columns, origins
from keyfold.readers import paths
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.formats import default_delimiter, format_of
from keyfold.readers.rows import text_heads
from keyfold.readers.text_form import TextForm

if TYPE_CHECKING:
    from keyfold.conf.data import Data


def source_columns(data: "Data") -> list[str] | None:
    """The columns of a local CSV or Parquet source, as its first file names them; None if they cannot be read from there.

    DataError for a CSV file without a header.
    """
    path = str(data.source)
    files = [*map(os.path.abspath, paths.local_files(path) or ())][:1]
    kind = format_of(path)
    if not files or kind not in ("csv", "parquet"):
        return None
    try:
        names = _parquet(files[0]) if kind == "parquet" else _csv(files[0], path, data.csv)
    except (OSError, ValueError):  # the job's reader reports a file that cannot be read
        return None
    return [*names, *paths.partition_columns(path, files)[files[0]]]


def kept_columns(data: "Data") -> list[str]:
    """The names that the source's columns get in the table, as far as they are known before it is read."""
    declared = declared_columns(data.columns)
    renamed = origins(declared)
    names = () if data.versions else source_columns(data) or ()
    return [*{renamed.get(name, name): None for name in names} | dict.fromkeys(declared)]


def _csv(file: str, path: str, csv: CsvOptions | None) -> tuple[str, ...]:
    form = TextForm(csv=csv or CsvOptions(), default_delimiter=default_delimiter(path))
    return text_heads([file], form)[file].form.names


def _parquet(file: str) -> list[str]:
    from pyarrow.parquet import read_schema

    return list(read_schema(file).names)
