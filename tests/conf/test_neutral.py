"""The options of a neutral answer that fit neither each other nor the model are refused at the conf."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError

CLASSIFIER, REGRESSOR = (
    {"model": {"sklearn": {"estimator": f"sklearn.linear_model.{name}"}}} for name in ("LogisticRegression", "Ridge")
)
VOTES, BETWEEN, ABSTAIN = {"votes": ["a", "b"]}, {"between": [3, 3]}, {"abstain": 0.9}


def conf(label, train=CLASSIFIER, **more):
    return parse_conf({"name": "n", "data": {"key": ["id"]}, "label": label, "train": train} | more)


@pytest.mark.parametrize(
    ("label", "more", "message"),
    [
        ({"neutral": VOTES | {"agreement": 0.5}}, {}, "label.neutral.agreement must be more than 0.5 (got 0.5)"),
        ({"neutral": VOTES | {"agreement": 1.1}}, {}, "label.neutral.agreement must be 1 or less"),
        ({"neutral": {"votes": ["a"]}}, {}, "label.neutral.votes must be a list of 2 or more"),
        ({"neutral": {"votes": ["a", "b", "a"]}}, {}, "`votes` has `a` twice"),
        ({"column": "y", "neutral": VOTES}, {}, "`neutral.votes` are the columns of the label; leave out `column` and `columns`"),
        ({"neutral": BETWEEN}, {}, "must name either `column` or `columns`"),
        ({"column": "y", "neutral": BETWEEN | {"agreement": 0.8}}, {}, "`agreement` is for `votes`"),
        ({"column": "y", "neutral": {"between": [4, 2]}}, {}, "`between` must be the lowest and the highest neutral number, in that order"),
        ({"column": "y", "neutral": {"between": [4]}}, {}, "label.neutral.between must be a list of 2 or more"),
        ({"column": "y", "neutral": BETWEEN, "positive": {"above": 4}}, {}, "`above` a number from 3 to 3, or be left out"),
        ({"column": "y", "neutral": BETWEEN, "positive": 5}, {}, "`above` a number from 3 to 3, or be left out"),
        ({"column": "y", "neutral": {"abstain": 1}}, {}, "label.neutral.abstain must be less than 1"),
        ({"column": "y", "neutral": ABSTAIN | BETWEEN}, {}, "must name one of votes, between, abstain (got between and abstain)"),
        ({"column": "y", "neutral": {}}, {}, "must name one of votes, between, abstain (got none)"),
        ({"column": "y", "neutral": ABSTAIN, "threshold": 0.4}, {}, "`threshold` is for two classes; with `neutral`"),
        ({"column": "y", "neutral": ABSTAIN, "bands": [1]}, {}, "`neutral` is for labels of which each row has one class, and `bands` is not"),
        ({"column": "y", "neutral": ABSTAIN, "as": "number"}, {}, "and `as` is not; leave one out"),
        ({"column": "y", "neutral": ABSTAIN, "separator": ","}, {}, "and `separator` is not; leave one out"),
        ({"columns": ["a", "b"], "neutral": ABSTAIN}, {}, "and `columns` is not; leave one out"),
        ({"column": "y", "neutral": ABSTAIN}, {"train": REGRESSOR}, "label.neutral is for probabilities, and this model predicts a number"),
        ({"neutral": VOTES}, {"split": {"stratified": True}}, "split.stratified needs a label that is one column of classes"),
        ({"column": "y", "neutral": ABSTAIN}, {"score": {"reasons": 3}}, "score.reasons "),
        ({"neutral": VOTES}, {"features": {"f": {"hashed": {"input_col": "b", "num_buckets": 4}}}}, "features.f takes `b`, which is the label"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(label, more, message):
    with pytest.raises(ConfError) as error:
        conf(label, **more)
    assert message in str(error.value)


def test_a_model_that_abstains_may_be_stratified_and_is_tuned_by_metrics_of_classes():
    tune = CLASSIFIER | {"tune": {"search": "grid", "over": {"params.C": [1, 2]}, "metric": "macro_f1"}}
    assert conf({"column": "y", "positive": "yes", "neutral": ABSTAIN}, tune, split={"stratified": True}).label.raters == []


def test_labels_without_a_neutral_answer_are_written_as_before():
    """So that run ids do not change."""
    assert (
        "neutral" not in conf("y").dumped["label"]
        and conf({"column": "y", "neutral": ABSTAIN}).dumped["label"]["neutral"]["abstain"] == 0.9
    )
