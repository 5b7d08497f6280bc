"""Prints versions, master, memory and where state lives, and tries a Delta write and read."""

import sys

from keyfold import doctor, spark
from keyfold.cli import guarded
from keyfold.tables import home


def work() -> None:
    """Prints what is known before it tries what may fail."""
    session = spark.session("keyfold doctor")
    for name, value in doctor.facts(session):
        print(f"{name:<14} {value}", flush=True)
    seconds = doctor.trial(session, home())
    print(f"{'delta':<14} wrote and read {doctor.ROWS:,} rows in {seconds:.1f} s")


if __name__ == "__main__":
    guarded(work, debug="--debug" in sys.argv)
