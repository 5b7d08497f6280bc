"""All of it in one session: ingest, features, train, score, report."""

from keyfold.cli.main import main
from keyfold.feature_store.table import offer
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import decide, train


def pipeline(run: Run) -> None:
    """The jobs in the order in which data flows."""
    if run.conf.data.source is not None or run.conf.data.versions:
        ingest(run)
    if run.conf.view and run.conf.train is None:
        offer(run)
        return
    score(run, decide(run, train(run)))


if __name__ == "__main__":
    main(pipeline, __doc__, reads_source=True)
