"""Cascades: what is refused when the conf is read."""

import pytest

from keyfold.conf.use_case import parse_conf
from small_conf import faults, raw

LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}}}
TUNED = {"ensemble": {"vote": {"members": {"a": LINEAR, "b": LINEAR}, "weights": "tuned"}}}
EXIT = {"precision_at_least": 0.9}


def stages(first=None, last=None):
    """Two stages, with some options of each."""
    return {
        "words": {"features": ["city"], "model": LINEAR, "exit": EXIT} | (first or {}),
        "rest": {"features": ["city", {"stage": "words"}], "model": LINEAR} | (last or {}),
    }


def of(stages, **more):
    conf = raw("train", {"model": {"cascade": {"stages": stages}}})
    for path, value in more.items():
        conf = conf | {path: conf.get(path, {}) | value}
    return conf


@pytest.mark.parametrize(
    ("of_stages", "sentence"),
    [
        ({"rest": {"features": ["city"], "model": LINEAR}}, "stages must be a list of 2 or more"),
        (stages({"exit": None}), ": stages.words.exit is missing, and only the last stage decides all rows"),
        (stages(last={"exit": EXIT}), ": stages.rest.exit must be left out, since the last stage decides all rows"),
        (stages(last={"features": ["city", "city"]}), ": stages.rest.features has `city` twice"),
        (stages({"features": ["city", {"stage": "rest"}]}), ": stages.words.features: there is no stage `rest` before it"),
        (stages({"features": ["city", {"stage": "words"}]}), ": stages.words.features: there is no stage `words` before it"),
        (stages({"model": TORCH}), ": stages.words.model must be a scikit-learn model, or an ensemble"),
        (stages({"model": TUNED}), ": stages.words.model must be a scikit-learn model, or an ensemble of them without tuned weights"),
        (stages({"model": {"cascade": {"stages": stages()}}}), ": stages.words.model must be a scikit-learn model, or an ensemble"),
        (stages(last={"model": RIDGE}), ": stages.rest.model must predict a class, and this one predicts a number"),
        (stages({"exit": {"precision_at_least": 1.5}}), ".stages.words.exit.precision_at_least"),
        (stages({"exit": {"precision_at_least": 0.9, "rows_at_least": 0}}), ".stages.words.exit.rows_at_least must be 1 or more (got 0)"),
        (stages({"features": []}), ".stages.words: features is missing"),
        (stages({"rules": {"yes": ["city"]}}), ".stages.words: must have either `model` or `rules` (got both)"),
        (stages({"model": None}), ".stages.words: must have either `model` or `rules` (got neither)"),
        (stages({"rules": {"yes": ["city"]}, "model": None}), ".stages.words: `rules` name their features; leave out `features`"),
        (stages(last={"rules": {"yes": ["city"]}, "model": None, "features": []}), "exit is missing, and rules cannot decide all rows"),
        (stages({"rules": {"yes": ["city"]}, "model": None, "features": []}), ".rules are of features of the kind `found`, and `city` is of"),
        (stages({"rules": {"yes": ["town"]}, "model": None, "features": []}), ".stages.words.rules: there is no feature `town`"),
        (stages({"features": ["town"]}), ".stages.words.features: there is no feature `town`"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(of_stages, sentence):
    found = faults(of(of_stages))
    assert any(fault.startswith("train.model.cascade") and sentence in fault for fault in found), found


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"label": {"threshold": 0.3}}, "label.threshold: the stages of a cascade decide at a probability of 0.5"),
        ({"label": {"calibrate": "isotonic"}}, "label.calibrate changes probabilities"),
        ({"label": {"separator": ","}}, "predicts one of some classes, and this label is of another kind"),
        ({"split": {"folds": 3}}, "split.folds: the validation fold finds the exits"),
        ({"split": {"share": {"train": 0.8, "validation": 0, "test": 0.2}}}, "finds the exits of a cascade, and split.share.validation is 0"),
        ({"train": {"rebalance": {"minority": 2}}}, "train.rebalance changes probabilities"),
        ({"report": {"rebalance": [{"minority": 2}]}}, "report.rebalance changes probabilities"),
        ({"train": {"tune": {"search": "grid", "over": {"stages.rest.model.sklearn.params.C": [1]}}}}, "train.tune: the validation fold"),
        ({"score": {"reasons": 3}}, "score.reasons needs all features of a row"),
        ({"report": {"without": [["city"]]}}, "report.without: each stage of a cascade names its features"),
        ({"data": {"key": ["Stage"]}}, "data.key: `stage` is a column of the predictions of a cascade"),
        ({"features": {"age": {"numeric": {"input_col": "age"}}}}, "features.age: no stage of train.model.cascade takes it"),
    ],
)  # fmt: skip
def test_what_cannot_be_combined_is_refused(more, sentence):
    found = faults(of(stages(), **more))
    assert any(sentence in fault for fault in found), found


def test_a_cascade_is_no_member():
    vote = {"vote": {"members": {"a": LINEAR, "b": {"cascade": {"stages": stages()}}}}}
    (fault,) = faults(raw("train", {"model": {"ensemble": vote}}))
    assert "vote.members.b must be a scikit-learn model or an ensemble of them; a cascade decides by itself" in fault


def test_parameters_name_the_stages():
    model = parse_conf(of(stages({"model": {"ensemble": {"bag": {"of": LINEAR}}}}))).train.model
    assert model.chosen.classifies and model.uses_validation and model.stacks and not model.tunes_weights
    assert model.chosen.parameters["cascade"] == "words → rest"
    assert model.chosen.parameters["stages.words.model.ensemble.bag.members"] == 20


def test_a_feature_may_be_the_input_of_another():
    features = {"town": {"crossed": {"input_cols": [{"feature": "city"}, "x"], "num_buckets": 8}}}
    assert parse_conf(of(stages({"features": ["town"]}, {"features": [{"stage": "words"}]}), features=features))
