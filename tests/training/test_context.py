"""The context of a training: the inputs that its run id pins, and the parameters to start from."""

from types import SimpleNamespace

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.features.spec import Spec
from keyfold.labels import Binary
from keyfold.runtime.account import Job
from keyfold.training import context
from keyfold.training.context import TrainingContext
from keyfold.training.warm_start import StartParameters
from sections import data_and_label

SKLEARN = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}, "loop": {"batch_size": 240}, "start": {"file": "weights.pt"}}}


def context_of(model, job="train", **train):
    """A context, and what its run id pinned."""
    pinned = {}
    data = {"key": ["id"], "label": "y", "time": "day"}
    run = SimpleNamespace(
        conf=parse_conf({"name": "t", **data_and_label(data), "train": {"model": model, **train}}),
        identity=lambda job, **pins: pinned.update(pins) or f"id of {job}",
    )
    rows = SimpleNamespace(
        pins=lambda run: {"rows": "v3"},
        count_in=lambda fold: 100,
        counts={("train", "yes"): 25, ("train", "no"): 75},
        label=Binary("string", "yes", "no"),
    )
    return TrainingContext.of(run, Job(job), Spec({}, {}), rows), pinned


@pytest.fixture(autouse=True)
def start(monkeypatch):
    monkeypatch.setattr(context, "find_start", lambda section: StartParameters(section.file, "d1"))


def test_the_run_id_pins_rows_features_sample_search_and_start():
    made, pinned = context_of(TORCH)
    assert {*pinned} == {"rows", "spec", "sampled", "early", "together", "start"}
    assert (made.run_id, made.warm_start.name, pinned["start"]) == ("id of train", "weights.pt", "d1")
    assert (pinned["rows"], pinned["spec"], pinned["sampled"]) == ("v3", Spec({}, {}).digest, 10**6)
    over = {"params.C": {"low": 0.1, "high": 1.0}}
    searches = {
        search: context_of(SKLEARN, tune={"search": search, "over": over, "parallel": 3})[1] for search in ("tpe", "random")
    }
    assert {search: pins["together"] for search, pins in searches.items()} == {"tpe": 3, "random": None}


def test_only_a_training_starts_from_other_parameters():
    for model, job in ((TORCH, "overfit"), (SKLEARN, "train")):
        made, pinned = context_of(model, job)
        assert made.warm_start is None and pinned["start"] is None


def test_the_time_identifies_a_row_too():
    assert context_of(SKLEARN)[0].key == ["id", "day"]


def test_networks_are_corrected_for_weights():
    context = context_of(SKLEARN, rebalance={"weights": "balanced"})[0]
    assert context.network_prior.factors == pytest.approx((1.5, 0.5))
    assert context_of(SKLEARN, rebalance={"weights": "balanced", "correct": False})[0].network_prior is None
    assert context_of(SKLEARN)[0].network_prior is None


def test_balanced_classes_weigh_the_same():
    negative, positive = context_of(SKLEARN, rebalance={"weights": "balanced"})[0].class_weights
    assert 0.75 * negative == pytest.approx(0.25 * positive) == pytest.approx(0.5)
    assert context_of(SKLEARN)[0].class_weights is None
