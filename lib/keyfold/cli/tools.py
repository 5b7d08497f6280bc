"""The jobs that take options instead of a conf."""

import argparse
import csv
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.cli.command import Command
from keyfold.errors import ConfError
from keyfold.secrets import redacted

if TYPE_CHECKING:
    from keyfold.engine.engine import Engine

_SPEC = "a digest of keyfold.specs or its beginning, a file, or models:/NAME@ALIAS"


def _init_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="FILE|DIR",
        help="a file, folder or pattern such as 'calls/*.csv'; without --label, a project folder to create",
    )
    parser.add_argument("--label", metavar="COL", help="the column to predict")
    parser.add_argument(
        "--key", metavar="COL[,COL]", help='the columns that identify a row, or content; quote a name with a comma: "a,b"'
    )
    parser.add_argument("--name", help="the name of the use case (default: from the file's name)")
    parser.add_argument("--time", metavar="COL", help="the date or timestamp of a row, if a key has several rows")
    parser.add_argument("--encoding", default="utf-8", help="of a text file (default: utf-8)")
    parser.add_argument("--out", metavar="FILE", help="the file to write the conf to (default: standard output)")


def _init(options: argparse.Namespace) -> None:
    if options.label is None:
        _write_project(options)
    else:
        _write_draft(options)


def _write_project(options: argparse.Namespace) -> None:
    from keyfold.cli.project import write_project

    path = Path(options.path)
    if path.is_file() or set(options.path) & set("*?["):
        raise ConfError(f"--label must name the column of {path} to predict (it is missing)")
    if options.key or options.time or options.out:
        raise ConfError("--key, --time and --out are for the conf of a file, which needs --label too")
    for file in write_project(path, options.name):
        print(file)
    print(f"Next: cd {path} && keyfold pipeline conf/{next((path / 'conf').glob('*.yaml')).name}")


def _write_draft(options: argparse.Namespace) -> None:
    from keyfold.profiling.draft_conf import draft_conf

    if options.out and Path(options.out).exists():
        raise ConfError(f"--out: `{options.out}` exists already; give another name, or delete it")
    key = None if options.key is None else _column_names(options.key)
    text = draft_conf(options.path, key, options.label, options.name, options.time, options.encoding)
    if not options.out:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
        return
    try:
        with Path(options.out).open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfError(f"--out: `{options.out}` cannot be written: {error.strerror}") from None
    print(f"{options.out} is written. Read it, then: {options.program} pipeline {options.out}")


def _column_names(key: str) -> list[str]:
    """The columns of --key; a name with a comma is in double quotes (ConfError if it is not a list of names)."""
    try:
        return next(csv.reader([key]))
    except csv.Error as error:
        raise ConfError(f"--key must be names of columns with commas between them (got {key!r}: {error})") from error


def _schema(_: argparse.Namespace) -> None:
    from keyfold.conf.use_case import Conf

    print(json.dumps(Conf.model_json_schema(), indent=2))


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("conf", metavar="CONF", nargs="?", help="the YAML file of a use case: says which engine it gets, and why")


def _doctor_on_spark(_: argparse.Namespace) -> str | None:
    """Spark is tried wherever it can start, or is asked for."""
    from keyfold.engine.spark_setup import missing_for_spark, reasons_for_spark

    return next(reasons_for_spark(), None) or (None if missing_for_spark() else "Spark is tried, too")


def _doctor(options: argparse.Namespace) -> None:
    from keyfold.conf.use_case import load_conf
    from keyfold.engine.engine import SparkEngine, embedded
    from keyfold.engine.home import home
    from keyfold.engine.session import session
    from keyfold.engine.spark_setup import missing_for_spark
    from keyfold.jobs import doctor

    for name, value in doctor.environment_facts(load_conf(options.conf) if options.conf else None):
        _print_fact(name, value)
    engines: "list[Engine]" = [embedded()]
    if not missing_for_spark():
        engines.append(SparkEngine(session("keyfold doctor")))
        for name, value in doctor.spark_facts(engines[1].spark):
            _print_fact(name, value)
    for engine in engines:
        seconds = doctor.delta_trial(engine, home())
        _print_fact("delta", f"{engine.name} wrote and read {doctor.TRIAL_ROWS:,} rows in {seconds:.1f} s")


def _print_fact(name: str, value: str) -> None:
    print(redacted(f"{name:<14} {value}"), flush=True)


def _spec_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="diff|sql")
    diff = actions.add_parser("diff", help="the features whose values differ between two specs, and in how many rows")
    diff.add_argument("a", metavar="A", help=_SPEC)
    diff.add_argument("b", metavar="B", help="likewise")
    diff.add_argument(
        "--rows", type=int, default=1_000_000, help="compare about this many rows, always the same (default: 1,000,000)"
    )
    select = actions.add_parser("sql", help="a spec as a SELECT")
    select.add_argument("a", metavar="A", help=_SPEC)
    for action in (diff, select):
        action.add_argument("--on", required=True, metavar="TABLE[@VERSION]", help="the table, such as churn.rows")


def _spec(options: argparse.Namespace) -> None:
    from keyfold.engine.home import home
    from keyfold.engine.tables import Tables
    from keyfold.jobs import spec_diff
    from keyfold.runtime.engine_choice import choose_for_tables

    name, version = _pinned_table(options)
    tables = Tables(choose_for_tables([name]).start("keyfold spec"), home())
    a = spec_diff.find_spec(tables, options.a)
    table = tables.table(name)
    if options.action == "sql":
        print(a.to_sql(table.at))
        return
    rows = table.frame(int(version) if version else table.version().version)
    b = spec_diff.find_spec(tables, options.b)
    print(spec_diff.describe_differences(spec_diff.compare_specs(spec_diff.sample_rows(rows, options.rows), a, b), a, b))


def _pinned_table(options: argparse.Namespace) -> tuple[str, str | None]:
    name, version = re.fullmatch(r"(.*?)(?:@(\d+))?", options.on).groups()  # type: ignore[union-attr]
    return name, version


def _spec_by_spark(options: argparse.Namespace) -> str | None:
    """Why Spark must read the table, if it must."""
    from keyfold.runtime.engine_choice import choose_for_tables

    choice = choose_for_tables(_pinned_table(options)[:1])
    return choice.reason if choice.name == "spark" else None


def _feast_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("views", metavar="VIEW", nargs="+", help="a table that a conf with `view` keeps, such as usage.features")
    parser.add_argument(
        "--into", metavar="FOLDER", type=Path, default=Path("feast"), help="the folder to write to (default: feast)"
    )
    parser.add_argument("--project", default="keyfold", help="its name in Feast's registry (default: keyfold)")


def _feast(options: argparse.Namespace) -> None:
    from keyfold.engine.home import home
    from keyfold.engine.session import session
    from keyfold.engine.tables import Tables
    from keyfold.feature_store import feast

    tables = Tables(session("keyfold feast"), home())
    files = feast.repository_files([tables.table(name) for name in options.views], options.project)
    options.into.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (options.into / name).write_text(text, "utf-8")
        print(options.into / name)


def _models(options: argparse.Namespace) -> None:
    from keyfold.tracking.versions import describe_versions

    print("\n".join(describe_versions(options.name)))


def _promote(options: argparse.Namespace) -> None:
    from keyfold.tracking.versions import promote_version

    print(promote_version(options.model))


def _by_spark(_: argparse.Namespace) -> str:
    return "this job reads tables by Spark"


TOOLS = {
    "init": Command(
        "Start", "Draft a conf for CSV, JSON-lines or Parquet files, or create a project folder.", _init, _init_options
    ),
    "doctor": Command(
        "Start",
        "Say what each engine needs and finds, which one a conf gets, and where state lives; try Delta writes.",
        _doctor,
        _doctor_options,
        _doctor_on_spark,
    ),
    "schema": Command("Start", "Print the JSON Schema of a conf, so that an editor completes the YAML.", _schema),
    "spec": Command(
        "Features", "Compare two fitted specs on the rows of a table, or print one as SQL.", _spec, _spec_options, _spec_by_spark
    ),
    "feast": Command("Features", "Write a Feast repository over feature views.", _feast, _feast_options, _by_spark),
    "models": Command(
        "Models",
        "List the versions of a registered model: time, test metrics, and which one is the champion.",
        _models,
        lambda parser: parser.add_argument(
            "name", metavar="NAME", help="the model's name: the conf's name, or train.register_as"
        ),
    ),
    "promote": Command(
        "Models",
        "Make a registered version the champion, which score uses: to roll back, or to promote by hand.",
        _promote,
        lambda parser: parser.add_argument("model", metavar="MODEL", help="models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID"),
    ),
}
