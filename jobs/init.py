# no spark
"""Looks at a file and prints a commented conf for it: init FILE --key COL[,COL] --label COL."""

import argparse
import csv
import sys

from keyfold.cli import guarded
from keyfold.look import conf_for


def main() -> None:
    """Prints the conf; exits with 2 for wrong options, with 3 for a file that will not do."""
    parser = argparse.ArgumentParser("init", description="Looks at a CSV, JSON-lines or Parquet file; prints a conf for it.")
    parser.add_argument("file")
    parser.add_argument("--key", required=True, metavar="COL[,COL]", help='a name with a comma goes in "double quotes"')
    parser.add_argument("--label", required=True, metavar="COL", help="what to predict")
    parser.add_argument("--name", help="of the use case (default: from the file's name)")
    parser.add_argument("--time", metavar="COL", help="the date or timestamp of a row, where a key has many")
    parser.add_argument("--encoding", default="utf-8", help="of a text file (default: utf-8)")
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    args = parser.parse_args()

    def work() -> None:
        key = next(csv.reader([args.key]))
        text = conf_for(args.file, key, args.label, args.name, args.time, args.encoding)
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()

    guarded(work, debug=args.debug)


if __name__ == "__main__":
    main()
