"""Add to the ledger the commits of jobs that were killed before they wrote their row."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("ledger")
