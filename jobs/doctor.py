"""Prints versions, master, memory and where state lives, and tries a Delta write and read."""

import sys

from keyfold import doctor, spark
from keyfold.errors import KeyfoldError
from keyfold.tables import home


def main() -> int:
    """The exit code: 0, or that of what went wrong."""
    try:
        session = spark.session("keyfold doctor")
        for name, value in doctor.facts(session):
            print(f"{name:<14} {value}")
        seconds = doctor.trial(session, home())
    except KeyfoldError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{'delta':<14} wrote and read {doctor.ROWS:,} rows in {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
