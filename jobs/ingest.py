"""Read the source into its Delta table; what cannot be kept goes to quarantine."""

from keyfold.cli.main import main
from keyfold.ingestion.job import ingest

if __name__ == "__main__":
    main(ingest, __doc__, reads_source=True)
