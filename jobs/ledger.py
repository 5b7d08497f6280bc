"""Add to the ledger the commits of jobs that were killed before they could tell of them."""

from keyfold.cli.main import run_job
from keyfold.jobs.rebuild_ledger import rebuild_ledger

if __name__ == "__main__":
    run_job(rebuild_ledger, __doc__)
