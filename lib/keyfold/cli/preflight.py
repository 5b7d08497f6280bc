"""Checks before Spark starts: options, conf, period, missing files, and columns that the files do not have.

`python -m keyfold.cli.preflight SCRIPT JOB.py ARGUMENT… -- OPTION…`, with options of spark-submit, checks a job file and runs it if it does
without Spark. If it needs Spark, SCRIPT takes this process over, with `--checked` before the same words and the reason in the environment.
With `--check` before SCRIPT the job is only checked: the exit code is `runner.PASSED`, or that of the error, and the reason is printed.
"""

import os
import runpy
import shlex
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from keyfold.cli import runner
from keyfold.conf.columns import declared_columns
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.names import CONTENT
from keyfold.errors import DataError, suggestion
from keyfold.features.inputs import columns_of as columns_of_kinds
from keyfold.readers import paths
from keyfold.runtime.source_columns import source_columns

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf

_OWN = ("keyfold_", CONTENT, "_c0")  # columns that keyfold adds


def check_inputs(conf: "Conf", *, reads_source: bool) -> None:
    """Raises what a job of this conf would raise for files that can be read without Spark (ConfError, DataError)."""
    from keyfold.conf.use_case import load_conf

    for viewed in conf.data.views:
        if viewed.conf:
            load_conf(viewed.conf)
    if reads_source and isinstance(conf.data.source, str):
        paths.require_files(conf.data.source)
        _check_columns(conf)


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
    yield from (("data.time", name) for name in [data.time] if name)
    yield from (("label", name) for name in conf.label_columns)
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


def main() -> None:
    """Checks the job file that the arguments name, and runs it unless it needs Spark."""
    words = sys.argv[1:]
    runner.only_check = words[0] == "--check"
    script, *job = words[runner.only_check :]
    runner.hand_over = partial(_hand_over, script, job)
    at = job.index("--") if "--" in job else len(job)
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*job[at + 1 :], "pyspark-shell"])
    sys.argv = job[:at]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _hand_over(script: str, job: list[str], reason: str) -> NoReturn:
    """Replaces this process by the script, which runs the job by spark-submit."""
    sys.stdout.flush()
    sys.stderr.flush()
    words = ["bash", script, "--checked", *job]  # by bash, because an archive's script may have lost its right to be executed
    os.execvpe(words[0], words, os.environ | {"KEYFOLD_REASON": reason})  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main()
