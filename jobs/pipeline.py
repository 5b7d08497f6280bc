"""All of it in one session: ingest, features, train, score, report."""

from keyfold.cli.main import run_job
from keyfold.feature_store.table import offer_view
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep


def pipeline(run: Run) -> None:
    """The jobs in the order in which data flows."""
    if run.conf.data.source is not None or run.conf.data.versions:
        ingest(run)
    if run.conf.view and run.conf.train is None:
        offer_view(run)
        return
    score(run, promote_or_keep(run, train(run)))


if __name__ == "__main__":
    run_job(pipeline, __doc__, reads_source=True)
