"""What a job refuses before Spark starts: its options, the conf, the period, missing files and columns that no file has.

`python -m keyfold.cli.preflight JOB.py ARGUMENT…` runs a job file up to there. It exits with `cli.PASSED` where the job may start, with the
error's code after its sentence, or with 0 where all was said, as by --help.
"""

import os
import runpy
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyfold.cli import main as cli
from keyfold.conf.columns import declared_columns
from keyfold.core.derived import Derived, raw_columns
from keyfold.errors import DataError, suggestion
from keyfold.features.inputs import columns_of as columns_of_kinds
from keyfold.ingestion import sources
from keyfold.readers import paths

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.conf.use_case import Conf

_OWN = ("keyfold_", "content_key", "_c0")  # names that keyfold gives


def check_inputs(conf: "Conf", *, reads_source: bool) -> None:
    """ConfError or DataError where a job of this conf would end with one for a file that can be looked at without Spark."""
    from keyfold.conf.use_case import load_conf

    for viewed in conf.data.views:
        if viewed.conf:
            load_conf(viewed.conf)
    if reads_source and isinstance(conf.data.source, str):
        paths.check_there(conf.data.source)
        _check_columns(conf)


def _check_columns(conf: "Conf") -> None:
    """DataError for a column that the conf names and the source has not; where columns come from elsewhere, too, Spark finds it."""
    data = conf.data
    there = None if data.versions or data.views else source_columns(data)
    if there is None:
        return
    if absent := [column.name for column in declared_columns(data.columns).values() if column.name not in there]:
        raise DataError(f"{data.source} has no column `{absent[0]}`, which data.columns declares{suggestion(absent[0], there)}")
    made = {*there, *data.columns, *conf.features}
    for place, name in named_columns(conf):
        if name not in made and not name.startswith(_OWN):
            raise DataError(f"{place}: the source `{data.source}` has no column `{name}`{suggestion(name, made)}")


def named_columns(conf: "Conf") -> Iterator[tuple[str, str]]:
    """Columns of the rows that a conf names, each with its place."""
    data, by = conf.data, conf.split.by
    yield from (("data.key", name) for name in data.key)
    yield from ((f"data.{option}", name) for option in ("time", "label") if (name := getattr(data, option)))
    yield from (("split.by", name) for name in ([by] if isinstance(by, str) else by))
    yield from (("split.time.column", name) for name in [conf.split.time and conf.split.time.column] if name)
    yield from (("split.allow", name) for name in conf.split.allow)
    for feature, of in conf.features.items():
        given = getattr(of.kind, "input_col", None)
        columns = [*(raw_columns(given) if isinstance(given, str | Derived) else ()), *columns_of_kinds([of.kind])]
        columns += [*(getattr(of.kind, "by", None) or ()), *getattr(of.kind, "order_by", ())]
        yield from ((f"features.{feature}", name) for name in dict.fromkeys(columns))
    yield from (("report.slices", name) for name in conf.report.slices)
    yield from (("images.input_col", name) for name in [conf.images and conf.images.input_col] if name)
    yield from (("report.truth", name) for name in [conf.report.truth] if name)


def source_columns(data: "Data") -> list[str] | None:
    """The columns of a local source of CSV or Parquet, from the first of its files; None where they cannot be told from there."""
    path = str(data.source)
    files = [*map(os.path.abspath, paths.local_files(path) or ())][:1]
    kind = sources.format_of(path)
    if not files or kind not in ("csv", "parquet"):
        return None
    try:
        names = _parquet(files[0]) if kind == "parquet" else sources.csv_header(files[0], path, data.csv)
    except (OSError, ValueError):  # what cannot be read is told by the reader itself
        return None
    return [*names, *paths.partition_columns(path, files)[files[0]]]


def _parquet(file: str) -> list[str]:
    from pyarrow.parquet import read_schema

    return list(read_schema(file).names)


def main() -> None:
    """Runs the job file that is named first, up to where its session would start."""
    cli.checks_only = True
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
