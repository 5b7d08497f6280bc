# no spark
"""Looks at files and prints a commented conf for them: init FILE --key COL[,COL] --label COL."""

import argparse
import csv
import sys
from pathlib import Path

from keyfold.cli.main import run_guarded
from keyfold.errors import ConfError


def main() -> None:
    """Prints or writes the conf; exits with 2 for wrong options, with 3 for a file that will not do."""
    parser = argparse.ArgumentParser("init", description="Looks at CSV, JSON-lines or Parquet files; prints a conf for them.")
    parser.add_argument("file", help="a file, a folder or a pattern such as 'calls/*.csv'")
    parser.add_argument(
        "--key", metavar="COL[,COL]", help='what tells rows apart, or content; a name with a comma goes in "double quotes"'
    )
    parser.add_argument("--label", required=True, metavar="COL", help="what to predict")
    parser.add_argument("--name", help="of the use case (default: from the file's name)")
    parser.add_argument("--time", metavar="COL", help="the date or timestamp of a row, where a key has many")
    parser.add_argument("--encoding", default="utf-8", help="of a text file (default: utf-8)")
    parser.add_argument("--out", metavar="FILE", help="where the conf is written (default: standard output)")
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    args = parser.parse_args()
    run_guarded(lambda: _write(args), debug=args.debug)


def _names(key: str) -> list[str]:
    """The columns of --key; a name with a comma stands in double quotes (ConfError for what is no list of names)."""
    try:
        return next(csv.reader([key]))
    except csv.Error as error:
        raise ConfError(f"--key must be names of columns with commas between them (got {key!r}: {error})") from error


def _write(args: argparse.Namespace) -> None:
    from keyfold.profiling.draft_conf import draft_conf

    if args.out and Path(args.out).exists():
        raise ConfError(f"--out: there is `{args.out}` already; give another name, or delete it")
    key = _names(args.key) if args.key is not None else None
    text = draft_conf(args.file, key, args.label, args.name, args.time, args.encoding)
    if not args.out:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
        return
    try:
        with Path(args.out).open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfError(f"--out: `{args.out}` cannot be written: {error.strerror}") from None
    print(f"{args.out} is written. Read it, then: ./spark-submit.sh pipeline {args.out}")


if __name__ == "__main__":
    main()
