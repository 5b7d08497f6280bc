"""Train a model, measure and register it; make it the champion where it clears the bar."""

from keyfold.cli import main
from keyfold.run import Run
from keyfold.training import decide, train


def work(run: Run) -> None:
    """Trains, then decides which version answers."""
    decide(run, train(run))


if __name__ == "__main__":
    main(work, __doc__)
