"""Ensembles: what is refused when the conf is read."""

import pytest

from keyfold.conf.use_case import parse_conf
from small_conf import faults, raw

LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier"}}
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}}}
MEMBERS = {"linear": LINEAR, "tree": TREE}
TUNED = {"vote": {"members": MEMBERS, "weights": "tuned"}}


def of(ensemble, **more):
    conf = raw("train", {"model": {"ensemble": ensemble}})
    for path, value in more.items():
        conf = conf | {path: conf.get(path, {}) | value}
    return conf


@pytest.mark.parametrize(
    ("ensemble", "sentence"),
    [
        ({}, "train.model.ensemble: must name one of bag, vote, stack (got none)"),
        ({"bag": {"of": LINEAR, "members": 1}}, "train.model.ensemble.bag.members must be 2 or more (got 1)"),
        ({"bag": {"of": LINEAR, "share": 0}}, "train.model.ensemble.bag.share must be more than 0 (got 0)"),
        ({"vote": {"members": {"linear": LINEAR}}}, "train.model.ensemble.vote.members must be a list of 2 or more"),
        ({"vote": {"members": {"../x": LINEAR, "tree": TREE}}}, "train.model.ensemble.vote.members"),
        ({"vote": {"members": MEMBERS, "weights": {"linear": 1}}},
         "train.model.ensemble.vote: weights must name the members linear, tree (got linear)"),
        ({"vote": {"members": MEMBERS, "weights": {"linear": 0, "tree": 0}}}, "train.model.ensemble.vote: weights must have one above 0"),
        ({"vote": {"members": {"linear": LINEAR, "ridge": RIDGE}}},
         "train.model.ensemble: the models of an ensemble must predict the same: vote.members.linear predicts classes, "
         "vote.members.ridge numbers"),
        ({"stack": {"members": MEMBERS, "meta": RIDGE}},
         "train.model.ensemble: the models of an ensemble must predict the same: stack.members.linear predicts classes, stack.meta numbers"),
        ({"bag": {"of": TORCH}}, "train.model.ensemble: bag.of must be a scikit-learn model or an ensemble of them"),
        ({"stack": {"members": MEMBERS, "meta": {"sklearn": {"estimator": "sklearn.linear_model.Ridg"}}}},
         "train.model.ensemble.stack.meta.sklearn: there is no estimator `sklearn.linear_model.Ridg`"),
        ({"stack": {"members": MEMBERS}}, "train.model.ensemble.stack.meta is missing"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(ensemble, sentence):
    (fault,) = faults(of(ensemble))
    assert fault.startswith(sentence)


@pytest.mark.parametrize(
    ("ensemble", "more", "sentence"),
    [
        (TUNED, {"train": {"tune": {"search": "grid", "over": {"vote.members.linear.sklearn.params.C": [1]}}}}, "trials of train.tune"),
        (TUNED, {"split": {"folds": 3}}, "one of the parts that split.folds holds out"),
        (TUNED, {"train": {"rebalance": {"minority": 2}}}, "by probabilities, which train.rebalance changes"),
        ({"bag": {"of": LINEAR}}, {"train": {"rebalance": {"smote": {}}}, "features": {"city": {"numeric": {"input_col": "city"}}}},
         "train.rebalance.smote makes rows without a key"),
    ],
)  # fmt: skip
def test_what_cannot_be_combined_is_refused(ensemble, more, sentence):
    (fault,) = faults(of(ensemble, **more))
    assert sentence in fault


def test_an_unknown_parameter_of_a_member_cannot_be_tuned():
    over = {"vote.members.linear.sklearn.params.D": [1]}
    (fault,) = faults(of({"vote": {"members": MEMBERS}}, train={"tune": {"search": "grid", "over": over}}))
    assert "LogisticRegression has no parameter `D`" in fault


def test_members_may_be_ensembles():
    bag = {"ensemble": {"bag": {"of": TREE, "members": 3}}}
    model = parse_conf(of({"stack": {"members": MEMBERS | {"bag": bag}, "meta": LINEAR}})).train.model
    assert model.chosen.classifies and model.stacks and not model.tunes_weights
    assert model.chosen.parameters["stack.members.bag.ensemble.bag.members"] == 3


OLD = {"registered": {"model": "models:/churn@champion"}}
VOTE = {"vote": {"members": {"new": LINEAR, "old": OLD}}}


@pytest.mark.parametrize(
    ("ensemble", "more", "sentence"),
    [
        ({"stack": {"members": {"new": LINEAR, "old": OLD}, "meta": LINEAR}}, {},
         "stack.members.old must be a model that is fitted here: a stack asks its members about rows that they were not fitted on"),
        ({"stack": {"members": MEMBERS, "meta": OLD}}, {}, "stack.meta must be a model that is fitted here"),
        ({"bag": {"of": OLD}}, {}, "bag.of must be a model that is fitted here: a bag fits its members on draws of the rows"),
        ({"stack": {"members": {"new": LINEAR, "both": {"ensemble": VOTE}}, "meta": LINEAR}}, {},
         "stack.members.both: registered models must be members of the outermost ensemble, which must be a `vote`"),
        ({"vote": {"members": {"new": LINEAR, "both": {"ensemble": VOTE}}}}, {}, "vote.members.both: registered models must be"),
        ({"vote": {"members": {"one": OLD, "two": OLD}}}, {}, "vote.members must have one that is fitted here"),
        ({"vote": {"members": {"new": LINEAR, "old": {"registered": {"model": "churn"}}}}}, {},
         "train.model.ensemble.vote.members.old.registered.model"),
        (VOTE, {"split": {"folds": 3}}, "may have been fitted on each part that split.folds holds out; leave one of them out"),
        (VOTE, {"train": {"rebalance": {"minority": 2}}}, "answers for the true shares of the classes, which train.rebalance changes"),
        (VOTE, {"train": {"model": OLD}}, "train: model: a registered model is trained already; it may be a member of `ensemble: {vote: …}`"),
        (VOTE, {"train": {"model": None, "models": {"a": LINEAR, "b": {"ensemble": VOTE}}}},
         "train.models.b.ensemble.vote.members.old: a registered model has features of its own"),
        (VOTE, {"train": {"model": None, "models": {"a": LINEAR, "b": OLD}}}, "models.b: a registered model is trained already"),
        (VOTE, {"label": {"neutral": {"between": [3, 3]}}}, "has learnt the class of label.neutral"),
        ({"vote": {"members": MEMBERS}}, {"report": {"compare": {"b": {"train": {"model": {"ensemble": VOTE}}}}}},
         "report.compare.b.train.model has a registered member that the model itself does not have"),
        (VOTE, {"train": {"model": {"cascade": {"stages": {
            "first": {"features": ["city"], "model": {"ensemble": VOTE}, "exit": {"precision_at_least": 0.9}},
            "last": {"features": ["city"], "model": LINEAR}}}}}}, "stages.first.model must be fitted here, on the rows that reach it"),
    ],
)  # fmt: skip
def test_where_a_registered_model_cannot_be_is_said(ensemble, more, sentence):
    (fault,) = faults(of(ensemble, **more))
    assert sentence in fault


def test_a_registered_model_votes():
    model = parse_conf(of(VOTE)).train.model
    assert model.chosen.classifies and model.registered_members == {"old": "models:/churn@champion"}
    assert model.chosen.parameters["vote.members.old.registered.model"] == "models:/churn@champion"
