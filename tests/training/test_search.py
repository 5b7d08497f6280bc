"""The search without Spark: trials are scored by a formula."""

from types import SimpleNamespace

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import DataError
from keyfold.training.page_sections import picture_axes, tuning_section
from tuning import TORCH, TPE, formula, raw_conf, search


def test_failed_trials_are_reported_and_not_repeated(home):
    def score(models, observe):
        return [1.0 if m.sklearn.params["C"] == 1 else "ValueError: odd" for m in models]

    tune = {"search": "grid", "over": {"params.C": [0, 1]}}
    messages, tuned = search(tune, score)
    assert [(t.place, t.why) for t in tuned.trials] == [(1, ""), (0, "ValueError: odd")] and "odd with params.C 0" in messages[0]
    assert tuned.model.sklearn.params == {"solver": "newton-cg", "C": 1}
    assert search(tune, None)[1] == tuned
    page = tuning_section(parse_conf(raw_conf(tune)).train.tune, tuned).html
    assert (
        "2 trials (1 complete, 1 failed), best first." in page and "failed: ValueError: odd" in page and "importance" not in page
    )
    with pytest.raises(DataError, match=r"no trial could be measured; the first, with params.C 0: no"):
        search(tune, lambda models, observe: ["no"] * len(models), "none")


@pytest.mark.parametrize(("value", "whole"), [(0.5, 0), (None, 1)])
def test_importance_and_picture_take_any_trials(home, value, whole):
    tune = TPE | {"trials": 3}
    _, tuned = search(tune, lambda models, observe: [value] if value else formula(models))
    assert sum(tuned.importance.values()) == pytest.approx(whole)
    assert all(0 <= place <= 1 for axis in picture_axes(parse_conf(raw_conf(tune)).train.tune, tuned) for place in axis.places)


def test_a_network_that_is_worse_than_others_at_an_epoch_is_ended_early(home):
    from optuna import TrialPruned

    epochs_of = []

    def score(models, observe):
        rate = models[0].torch.loop.learning_rate
        try:
            for epoch in range(8):
                epochs_of.append(rate)
                observe(SimpleNamespace(epoch=epoch, validation=1 - rate))
        except TrialPruned:
            return [None]
        return [rate]

    tune = {"search": "grid", "over": {"loop.learning_rate": [0.3, 0.1, 0.2, 0.4]}, "metric": "roc_auc"}
    messages, tuned = search(tune, score, model=TORCH)
    assert [(t.params["loop.learning_rate"], t.state) for t in tuned.trials] == [
        (0.4, "COMPLETE"), (0.3, "COMPLETE"), (0.1, "PRUNED"), (0.2, "PRUNED"),
    ]  # fmt: skip
    assert [epochs_of.count(rate) for rate in (0.3, 0.1, 0.2, 0.4)] == [
        8,
        1,
        1,
        8,
    ] and "ended early with loop.learning_rate 0.1" in messages[1]
