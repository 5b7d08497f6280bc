"""Bring back the rows that the newest ingest replaced, period by period."""

from keyfold.cli.main import run_job
from keyfold.ingestion.job import undo

if __name__ == "__main__":
    run_job(undo, __doc__)
