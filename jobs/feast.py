"""Writes a Feast repository over feature views: feast VIEW… --into FOLDER."""

import argparse
from pathlib import Path

from keyfold.cli.main import Parser, run_guarded


def main() -> None:
    """Writes; exits with 2 for wrong options, with 3 for what is no view or what Feast cannot take."""
    parser = Parser("Writes a Feast repository over feature views.")
    parser.add_argument("views", metavar="VIEW", nargs="+", help="a table that a conf with `view` keeps, such as usage.features")
    parser.add_argument("--into", metavar="FOLDER", type=Path, default=Path("feast"), help="default: feast")
    parser.add_argument("--project", default="keyfold", help="its name in Feast's registry (default: keyfold)")
    options = parser.parse_args()
    run_guarded(lambda: _run(options), debug=options.debug)


def _run(options: argparse.Namespace) -> None:
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


if __name__ == "__main__":
    main()
