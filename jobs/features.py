"""Fit the feature spec on the train fold and keep it by its digest; of a conf that only offers a view, bring that to its rows."""

from keyfold.cli.main import run_job
from keyfold.dataset.fit_features import fit_features
from keyfold.feature_store.table import offer_view
from keyfold.runtime.run import Run


def made(run: Run) -> None:
    """What the conf asks for."""
    if run.conf.view and run.conf.train is None:
        offer_view(run)
    else:
        fit_features(run)


if __name__ == "__main__":
    run_job(made, __doc__)
