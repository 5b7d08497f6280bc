"""Read the source into its Delta table; what cannot be kept goes to quarantine."""

from keyfold.cli import main
from keyfold.ingest import ingest

if __name__ == "__main__":
    main(ingest, __doc__, reads_source=True)
