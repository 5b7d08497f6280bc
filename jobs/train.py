"""Train a model, measure and register it; make it the champion where it clears the bar."""

from keyfold.cli.main import main
from keyfold.runtime.run import Run
from keyfold.training.job import decide, train
from keyfold.training.memorize import one_batch

FLAGS = {"overfit-one-batch": "learn one batch by heart in place of that, to see whether the model can; registers nothing"}


def work(run: Run, *, overfit_one_batch: bool) -> None:
    """Trains, then decides which version answers."""
    if overfit_one_batch:
        one_batch(run)
    else:
        decide(run, train(run))


if __name__ == "__main__":
    main(work, __doc__, FLAGS)
