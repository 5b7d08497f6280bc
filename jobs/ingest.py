"""Read the source into its Delta table; rows that cannot be kept go to quarantine."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("ingest")
