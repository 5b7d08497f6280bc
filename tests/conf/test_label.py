"""The options of a label that fit neither each other nor the model are refused at the conf."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError

CLASSIFIER = {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}}
REGRESSOR = {"model": {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}}


def conf(label, train=CLASSIFIER, **more):
    return parse_conf({"name": "n", "data": {"key": ["id"]}, "label": {"column": "y"} | label, "train": train} | more)


@pytest.mark.parametrize(
    ("label", "more", "message"),
    [
        ({"threshold": 2}, {}, "label.threshold must be 1 or less"),
        ({"threshold": {"maximise": "f2"}}, {}, "label.threshold.maximise must be `f1`, `balanced_accuracy` or `f_beta`"),
        ({"threshold": {"maximise": "f_beta"}}, {}, "`maximise: f_beta` and `beta` belong together"),
        ({"threshold": {"maximise": "f1", "beta": 2}}, {}, "`maximise: f_beta` and `beta` belong together"),
        ({"threshold": {"recall_at_least": 0}}, {}, "label.threshold.recall_at_least must be more than 0"),
        ({"threshold": {"maximise": "f1", "recall_at_least": 0.5}}, {}, "must name one of maximise, precision_at_least"),
        ({"threshold": {"cost": {"false_positive": 0, "false_negative": 0}}}, {}, "one of false_positive and false_negative must be more than 0"),
        ({"threshold": 0.3, "bands": [1]}, {}, "`threshold` is for two classes or several labels; of `bands`, the most probable one"),
        ({"threshold": 0.3}, {"train": REGRESSOR}, "label.threshold is for probabilities, and this model predicts a number"),
        ({"calibrate": "sigmoid"}, {"train": REGRESSOR}, "label.calibrate is for probabilities, and this model predicts a number"),
        ({"calibrate": "platt"}, {}, "label.calibrate must be `isotonic`, `sigmoid` or `temperature`"),
        ({"calibrate": "sigmoid"}, {"split": {"share": {"train": 0.5, "validation": 0, "test": 0.5}}},
         "label.calibrate is fitted on the validation fold, and split.share.validation is 0"),
        ({"threshold": {"maximise": "f1"}}, {"split": {"time": {"test": "2026-01-01", "column": "t"}}},
         "label.threshold is fitted on the validation fold, and split.time.validation is not set"),
        ({"interval": 1.5}, {}, "label.interval must be less than 1"),
        ({"interval": {"share": 0}}, {}, "label.interval.share must be more than 0"),
        ({"interval": {"scaled": True}}, {}, "label.interval.share is missing"),
        ({"interval": {"share": 0.8, "scaled": True}, "bands": [1]}, {}, "`interval.scaled` is for a number; with `bands` the width depends"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(label, more, message):
    with pytest.raises(ConfError) as error:
        conf(label, **more)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("threshold", "rule"),
    [
        ({"maximise": "f_beta", "beta": 2}, {"maximise": "f_beta", "beta": 2.0}),
        ({"cost": {"false_positive": 5, "false_negative": 80}}, {"cost": {"false_positive": 5.0, "false_negative": 80.0}}),
    ],
)
def test_a_rule_names_its_demand_first(threshold, rule):
    found = conf({"threshold": threshold}).label.threshold.rule
    assert found == rule and list(found) == list(rule)


def test_a_number_needs_no_validation_fold():
    split = {"share": {"train": 0.5, "validation": 0, "test": 0.5}}
    assert conf({"threshold": 0.25}, split=split).label.threshold == 0.25
