"""Restore the rows that the newest ingest replaced, period by period."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("undo")
