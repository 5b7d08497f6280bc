"""Bring back the rows that the newest ingest replaced, period by period."""

from keyfold.cli import main
from keyfold.ingest import undo

if __name__ == "__main__":
    main(undo, __doc__)
