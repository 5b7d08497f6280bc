"""Add to the ledger the commits of jobs that were killed before they could tell of them."""

from keyfold.cli import main
from keyfold.ledger import rebuild

if __name__ == "__main__":
    main(rebuild, __doc__)
