"""Checks before Spark starts: options, conf, period, missing files, and columns that the files do not have.

`python -m keyfold.cli.preflight JOB.py ARGUMENT…` runs a job file up to its session. It exits with `runner.PASSED` if the job may start,
with the error's code and sentence if not, or with 0 if the job is done without Spark, as --help is.
"""

import os
import runpy
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from keyfold.cli import runner
from keyfold.conf.columns import declared_columns
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.names import CONTENT
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features.inputs import columns_of as columns_of_kinds
from keyfold.ingestion import sources
from keyfold.readers import paths

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.conf.use_case import Conf

_OWN = ("keyfold_", CONTENT, "_c0")  # columns that keyfold adds


def check_inputs(conf: "Conf", *, reads_source: bool) -> None:
    """Raises what a job of this conf would raise for files that can be read without Spark (ConfError, DataError)."""
    from keyfold.conf.use_case import load_conf

    check_engine(conf)
    for viewed in conf.data.views:
        if viewed.conf:
            load_conf(viewed.conf)
    if reads_source and isinstance(conf.data.source, str):
        paths.require_files(conf.data.source)
        _check_columns(conf)


def check_engine(conf: "Conf") -> None:
    """ConfError if the engine is `embedded` and the conf has a part that needs Spark."""
    if conf.engine == "embedded" and (part := next(_parts_for_spark(conf), None)):
        raise ConfError(f"engine: embedded has no {part} yet; write `engine: spark`")


def _parts_for_spark(conf: "Conf") -> Iterator[str]:
    data, network = conf.data, conf.train is not None and conf.train.model.torch is not None
    parts = {
        "windowed features": conf.windows is not None, "data.views": bool(data.views), "view": conf.view is not None,
        "data.versions": bool(data.versions), "images": conf.images is not None, "networks (train.model.torch)": network,
        "data.key: content": data.key == [CONTENT],
    }  # fmt: skip
    yield from (part for part, needed in parts.items() if needed)
    if isinstance(data.source, str):
        if (kind := sources.format_of(data.source)) not in ("csv", "json"):
            yield f"reader for sources of {kind}"
        if paths.local_files(data.source) is None:
            yield f"reader for {data.source}, which is on no disk of this machine"


def _check_columns(conf: "Conf") -> None:
    """DataError for a column that the conf names and the source lacks; if columns come from elsewhere too, the job finds it."""
    data = conf.data
    in_source = None if data.versions or data.views else source_columns(data)
    if in_source is None:
        return
    if absent := [column.name for column in declared_columns(data.columns).values() if column.name not in in_source]:
        raise DataError(
            f"{data.source} has no column `{absent[0]}`, which data.columns declares{suggestion(absent[0], in_source)}"
        )
    known = {*in_source, *data.columns, *conf.features}
    for place, name in named_columns(conf):
        if name not in known and not name.startswith(_OWN):
            raise DataError(f"{place}: the source `{data.source}` has no column `{name}`{suggestion(name, known)}")


def named_columns(conf: "Conf") -> Iterator[tuple[str, str]]:
    """The columns that a conf names, each with its option: (option, column)."""
    data, by = conf.data, conf.split.by
    yield from (("data.key", name) for name in data.key)
    yield from ((f"data.{option}", name) for option in ("time", "label") if (name := getattr(data, option)))
    yield from (("split.by", name) for name in ([by] if isinstance(by, str) else by))
    yield from (("split.time.column", name) for name in [conf.split.time and conf.split.time.column] if name)
    yield from (("split.allow", name) for name in conf.split.allow)
    for name, feature in conf.features.items():
        yield from ((f"features.{name}", column) for column in _input_columns(feature.kind))
    yield from (("report.slices", name) for name in conf.report.slices)
    yield from (("images.input_col", name) for name in [conf.images and conf.images.input_col] if name)
    yield from (("report.truth", name) for name in [conf.report.truth] if name)


def _input_columns(kind: Any) -> Iterable[str]:
    source = getattr(kind, "input_col", None)
    columns = [*(raw_columns(source) if isinstance(source, str | Derived) else ()), *columns_of_kinds([kind])]
    return dict.fromkeys([*columns, *(getattr(kind, "by", None) or ()), *getattr(kind, "order_by", ())])


def source_columns(data: "Data") -> list[str] | None:
    """The columns of a local CSV or Parquet source, from its first file; None if they cannot be read from there."""
    path = str(data.source)
    files = [*map(os.path.abspath, paths.local_files(path) or ())][:1]
    kind = sources.format_of(path)
    if not files or kind not in ("csv", "parquet"):
        return None
    try:
        names = _parquet(files[0]) if kind == "parquet" else sources.csv_header(files[0], path, data.csv)
    except (OSError, ValueError):  # the job's reader reports a file that cannot be read
        return None
    return [*names, *paths.partition_columns(path, files)[files[0]]]


def _parquet(file: str) -> list[str]:
    from pyarrow.parquet import read_schema

    return list(read_schema(file).names)


def main() -> None:
    """Runs the job file named by the first argument up to its session."""
    runner.checks_only = True
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
