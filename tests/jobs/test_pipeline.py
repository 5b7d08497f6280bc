"""Which stages a job runs, and in which order."""

from types import SimpleNamespace

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.jobs import pipeline

DATA = {"source": "rows.csv", "key": ["id"], "time": "day"}
TRAIN = {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}}
VIEW = {"view": {"features": ["a"]}}
STAGES = ("ingest", "offer_view", "fit_features", "train", "promote_or_keep", "score", "memorize_one_batch")


@pytest.fixture
def stages(monkeypatch):
    """The calls of stages: names with their arguments after the run. Each returns its name."""
    calls = []

    def stage(name):
        def call(run, *arguments):
            calls.append((name, *arguments))
            return name

        return call

    for name in STAGES:
        monkeypatch.setattr(pipeline, name, stage(name))
    return calls


def run_of(**sections):
    return SimpleNamespace(conf=parse_conf({"name": "shop", "data": DATA} | sections))


TRAINED = [("train",), ("promote_or_keep", "train"), ("score", "promote_or_keep")]


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        ({"train": TRAIN}, [("ingest",), *TRAINED]),
        ({"train": TRAIN, "data": {"table": "shop.rows", "key": ["id"]}}, TRAINED),
        ({"train": TRAIN} | VIEW, [("ingest",), *TRAINED]),
        (VIEW, [("ingest",), ("offer_view",)]),
    ],
)
def test_a_pipeline_scores_with_the_version_that_promotion_returns(stages, sections, wanted):
    pipeline.run_pipeline(run_of(**sections))
    assert stages == wanted


def test_the_job_features_updates_a_view_or_fits_the_spec(stages):
    pipeline.make_features(run_of(**VIEW))
    pipeline.make_features(run_of(train=TRAIN, **VIEW))
    assert stages == [("offer_view",), ("fit_features",)]


def test_a_memorized_batch_is_not_promoted(stages):
    pipeline.train_or_memorize(run_of(train=TRAIN), overfit_one_batch=True)
    assert stages == [("memorize_one_batch",)]
    pipeline.train_or_memorize(run_of(train=TRAIN))
    assert stages[1:] == TRAINED[:2]
