"""Train a model, measure and register it; make it the champion where it clears the bar."""

from keyfold.cli.main import run_job
from keyfold.runtime.run import Run
from keyfold.training.job import train
from keyfold.training.memorize import memorize_one_batch
from keyfold.training.promotion import promote_or_keep

FLAGS = {"overfit-one-batch": "learn one batch by heart in place of that, to see whether the model can; registers nothing"}


def work(run: Run, *, overfit_one_batch: bool) -> None:
    """Trains, then decides which version answers."""
    if overfit_one_batch:
        memorize_one_batch(run)
    else:
        promote_or_keep(run, train(run))


if __name__ == "__main__":
    run_job(work, __doc__, FLAGS)
