"""Options of networks that are refused before anything is read; networks themselves are in tests/horovod."""

import pytest

from keyfold.conf.use_case import load_conf
from keyfold.errors import ConfError
from keyfold.training import network
from keyfold.training.network import check_network
from places import ROOT

TORCH = "train.model={torch: {network: {wide_deep: {hidden: [4]}}, loop: {batch_size: 240, accumulate: 5}}}"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("train.ranks is for networks", ["train.ranks=2"]),
        ("report.without trains the model several times", [TORCH, "report.without=[[ad]]"]),
        ("split.folds trains the model several times", [TORCH, "report.without=[]", "split.folds=3"]),
        (r"train.ranks must be one of 1, 2, 3, 4, 6, 12, .*\(got 5\)", [TORCH, "report.without=[]", "train.ranks=5"]),
        (r"accumulate must divide the 12 streams of a process \(got 5\)", [TORCH, "report.without=[]"]),
    ],
)
def test_options_that_do_not_go_with_the_model_are_refused(words, options, embedded, monkeypatch):
    monkeypatch.setattr(network, "require_torch", lambda: None)
    with pytest.raises(ConfError, match=words):
        check_network(load_conf(ROOT / "conf/ads.yaml", options), embedded)
