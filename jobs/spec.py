"""Tells what fitted specs do: spec diff A B --on TABLE, spec sql A --on TABLE."""

import argparse
import re

from keyfold.cli.main import Parser, run_guarded

_SPEC = "a digest of keyfold.specs or its beginning, a file, or models:/NAME@ALIAS"


def main() -> None:
    """Prints; exits with 2 for wrong options, with 3 for what is not there or cannot be computed."""
    parser = Parser("Tells what fitted specs do.")
    words = parser.add_subparsers(dest="word", required=True)
    diff = words.add_parser("diff", help="the features whose values differ between two specs, and in how many rows")
    diff.add_argument("a", metavar="A", help=_SPEC)
    diff.add_argument("b", metavar="B", help="likewise")
    diff.add_argument("--rows", type=int, default=1_000_000, help="about as many rows, always the same (default: 1,000,000)")
    select = words.add_parser("sql", help="a spec as a SELECT")
    select.add_argument("a", metavar="A", help=_SPEC)
    for word in (diff, select):
        word.add_argument("--on", required=True, metavar="TABLE[@VERSION]")
    options = parser.parse_args()
    run_guarded(lambda: _run(options), debug=options.debug)


def _run(options: argparse.Namespace) -> None:
    from keyfold.engine.home import home
    from keyfold.engine.session import session
    from keyfold.engine.tables import Tables
    from keyfold.jobs import spec_diff as diff

    tables = Tables(session("keyfold spec"), home())
    a = diff.find_spec(tables, options.a)
    name, version = re.fullmatch(r"(.*?)(?:@(\d+))?", options.on).groups()  # type: ignore[union-attr]
    if options.word == "sql":
        print(a.to_sql(tables.table(name).at))
        return
    table = tables.table(name)
    pinned = int(version) if version else table.version().version
    b = diff.find_spec(tables, options.b)
    print(diff.describe_differences(diff.compare_specs(diff.sample_rows(table.read(pinned), options.rows), a, b), a, b))


if __name__ == "__main__":
    main()
