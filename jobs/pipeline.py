"""Ingest, train and score in one session."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("pipeline")
