"""The section `train.rebalance`: what is refused when the conf is read."""

import pytest

from keyfold.conf.rebalance import Rebalance
from keyfold.conf.use_case import parse_conf
from small_conf import faults, raw

NUMBERS = {
    "spent": {"numeric": {"input_col": "spent"}},
    "hour": {"date_parts": {"input_col": "at", "parts": ["hour"], "cyclic": True}},
}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}}}
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"majority": 0}, "train.rebalance.majority must be more than 0 (got 0)"),
        ({"majority": 1.5}, "train.rebalance.majority must be 1 or less (got 1.5)"),
        ({"minority": 0.5}, "train.rebalance.minority must be 1 or more (got 0.5)"),
        ({"weights": {"a": 0}}, "train.rebalance.weights: the weight of `a` must be a positive number (got 0)"),
        ({"smote": {"neighbours": 0}}, "train.rebalance.smote.neighbours must be 1 or more (got 0)"),
        ({"majority": 0.1, "minority": 5}, "train.rebalance: must name one of majority, minority, weights, smote (got majority and minority)"),
        ({"correct": False}, "train.rebalance: must name one of majority, minority, weights, smote (got none)"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(value, sentence):
    assert faults(raw("train.rebalance", value)) == [sentence]


def test_smote_needs_features_that_are_numbers():
    (sentence,) = faults(raw("train.rebalance", {"smote": {}}))
    assert sentence.startswith("train.rebalance.smote draws rows between others, so features must be numbers, and `city` is not")
    assert parse_conf(raw("train.rebalance", {"smote": {}}) | {"features": NUMBERS}).train.rebalance.smote.neighbours == 5


def test_a_regressor_has_no_classes():
    conf = raw("train.rebalance", {"minority": 5})
    conf["train"]["model"] = RIDGE
    assert faults(conf) == ["train.rebalance balances classes, and this model predicts a number; leave it out"]


@pytest.mark.parametrize(
    ("value", "fine"), [({"minority": 5}, True), ({"weights": "balanced"}, True), ({"majority": 0.1}, False)]
)
def test_a_network_has_weights(value, fine):
    conf = raw("train.rebalance", value)
    conf["train"]["model"] = TORCH
    if fine:
        assert parse_conf(conf).train.rebalance
    else:
        assert faults(conf) == ["train.rebalance.majority is for scikit-learn models; for a network take `minority` or `weights`"]


def test_ways_to_compare_are_checked_too():
    conf = raw("report.rebalance", [{"majority": 0.1}, {"smote": {}}])
    assert faults(conf)[0].startswith("report.rebalance.1.smote draws rows")
    del conf["train"]
    assert "report.rebalance.0 is about a model, and the conf has no section `train`" in faults(conf)[0]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("balanced", 'rebalance: {weights: "balanced", correct: false}'),
        ({"yes": 5, "no": 1}, 'rebalance: {weights: {"yes": 5, "no": 1}, correct: false}'),
    ],
)
def test_the_former_option_is_refused_with_the_line_to_write(value, line):
    (sentence,) = faults(raw("train.class_weight", value))
    assert sentence.startswith(f"train.class_weight is not an option any more: write `{line}`")


def test_classes_may_be_what_yaml_reads_as_booleans_or_numbers():
    assert Rebalance.model_validate({"weights": {True: 5, False: 1}}).weights == {"true": 5, "false": 1}
    assert Rebalance.model_validate({"weights": {1: 5, "0": 1}}).weights == {"1": 5, "0": 1}
    assert faults(raw("train.rebalance", {"weights": {3: 2, "3": 5}})) == [
        "train.rebalance.weights: the name 3 must be text; quote it"
    ]
    assert faults(raw("train.rebalance", {"weights": {1.5: 2}})) == [
        "train.rebalance.weights: the name '1.5' must be text; quote it"
    ]


def test_ways_have_short_names():
    ways = [
        {"majority": 0.1},
        {"minority": 5},
        {"weights": "balanced", "correct": False},
        {"weights": {"a": 2, "b": 1}},
        {"smote": {}},
    ]
    assert [str(Rebalance.model_validate(way)) for way in ways] == [
        "majority 0.1", "minority 5", "weights balanced, not corrected", "weights a 2, b 1", "smote 5"
    ]  # fmt: skip
