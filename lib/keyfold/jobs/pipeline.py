"""Jobs that run several stages."""

from typing import TYPE_CHECKING

from keyfold.dataset.fit_features import fit_features
from keyfold.feature_store.table import offer_view
from keyfold.ingestion.job import ingest
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.one_batch import memorize_one_batch
from keyfold.training.promotion import promote_or_keep

if TYPE_CHECKING:
    from keyfold.runtime.run import Run
    from keyfold.tracking.registry import Registered


def run_pipeline(run: "Run") -> None:
    """Ingests, trains and scores; a conf that only offers a view is ingested and its view updated."""
    if run.conf.data.source is not None or run.conf.data.versions:
        ingest(run)
    if _only_offers_view(run):
        offer_view(run)
    else:
        score(run, train_and_promote(run))


def make_features(run: "Run") -> None:
    """Fits the feature spec; for a conf that only offers a view, updates the view."""
    if _only_offers_view(run):
        offer_view(run)
    else:
        fit_features(run)


def train_or_memorize(run: "Run", *, overfit_one_batch: bool = False) -> None:
    """Trains and promotes; with `overfit_one_batch`, trains on one batch only and registers nothing."""
    if overfit_one_batch:
        memorize_one_batch(run)
    else:
        train_and_promote(run)


def train_and_promote(run: "Run") -> "Registered":
    """Trains a version and returns the one to score with: the new one if it is promoted, else the champion."""
    return promote_or_keep(run, train(run))


def _only_offers_view(run: "Run") -> bool:
    return run.conf.view is not None and run.conf.train is None
