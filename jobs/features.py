"""Fit the feature spec on the train fold and keep it by its digest; of a conf that only offers a view, bring that to its rows."""

from keyfold.cli.main import main
from keyfold.dataset.fit_features import features
from keyfold.feature_store.table import offer
from keyfold.runtime.run import Run


def made(run: Run) -> None:
    """What the conf asks for."""
    if run.conf.view and run.conf.train is None:
        offer(run)
    else:
        features(run)


if __name__ == "__main__":
    main(made, __doc__)
