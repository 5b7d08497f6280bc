"""Add to the ledger the commits of jobs that were killed before they could tell of them."""

from keyfold.cli.main import main
from keyfold.jobs.rebuild_ledger import rebuild

if __name__ == "__main__":
    main(rebuild, __doc__)
