"""Bring back the rows that the newest ingest replaced, period by period."""

from keyfold.cli.main import main
from keyfold.ingestion.job import undo

if __name__ == "__main__":
    main(undo, __doc__)
