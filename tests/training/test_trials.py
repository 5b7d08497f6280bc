"""The record of a trial: as Optuna stores it, and as MLflow shows it."""

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from keyfold.tracking import tags
from keyfold.training.trials import Trial, format_parameter


@pytest.mark.parametrize(
    ("state", "value", "why", "trial"),
    [
        (TrialState.COMPLETE, 0.8, None, Trial(3, {"params.C": 2.0}, 0.8, "COMPLETE", "")),
        (TrialState.PRUNED, 0.7, None, Trial(3, {"params.C": 2.0}, None, "PRUNED", "")),
        (TrialState.FAIL, None, "ValueError: C", Trial(3, {"params.C": 2.0}, None, "FAIL", "ValueError: C")),
    ],
)
def test_a_trial_has_a_value_only_if_it_is_complete(state, value, why, trial):
    attributes = {"place": 3} | ({"why": why} if why else {})
    stored = create_trial(
        state=state, value=value, params={"params.C": 2.0}, distributions={"params.C": FloatDistribution(1, 3)}, user_attrs=attributes,
    )  # fmt: skip
    assert Trial.of_optuna(stored, stored.params) == trial


def test_mlflow_shows_the_value_or_the_reason_why_there_is_none():
    complete = Trial(0, {"params.C": 1}, 0.8, "COMPLETE", "").mlflow_run("roc_auc")
    assert complete == (0, {"params.C": 1}, {"roc_auc": 0.8}, {tags.TRIAL_STATE: "COMPLETE"}, False)
    failed = Trial(1, {}, None, "FAIL", "odd").mlflow_run("roc_auc")
    assert failed == (1, {}, {}, {tags.TRIAL_STATE: "FAIL", tags.TRIAL_FAILURE: "odd"}, True)
    assert not Trial(2, {}, None, "PRUNED", "").mlflow_run("roc_auc").failed


def test_parameters_have_four_digits():
    shown = [format_parameter(value) for value in (None, True, 0.123456, 100000, 1e-7, "l2")]
    assert shown == ["none", "true", "0.1235", "100000", "1e-07", "l2"]
