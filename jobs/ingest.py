"""Read the source into its Delta table; what cannot be kept goes to quarantine."""

from keyfold.cli.main import run_job
from keyfold.ingestion.job import ingest

if __name__ == "__main__":
    run_job(ingest, __doc__, reads_source=True)
