"""Draft a conf for CSV, JSON-lines or Parquet files, or create a project folder."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("init")
