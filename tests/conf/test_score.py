"""The section `score`: the actions, and which model scores."""

import pytest

from keyfold.conf.score import Action, Score
from keyfold.conf.use_case import parse_conf
from small_conf import faults, raw


@pytest.mark.parametrize(
    ("of", "many"), [({"top": 0.1}, 1), ({"top": 0.3}, 5), ({"over": 0.5}, 19), ({"budget": 3, "cost": 0.1}, 19), ({"budget": 0.3, "cost": 0.1}, 3)]
)  # fmt: skip
def test_how_many_an_action_takes(of, many):
    assert Action(**of).most(19) == many


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ({"top": 0.1}, "the 10% with the highest probability"),
        ({"over": 0.5}, "probability over 0.5"),
        ({"budget": 300, "cost": 1.5}, "as many as 300 pays for at 1.5 each"),
        ({"top": 0.1, "of": "a"}, "the 10% with the highest probability of a"),
        ({"over": 0.5, "of": "a"}, "probability of a over 0.5"),
        ({"budget": 3, "of": "a"}, "as many as 3 pays for at 1 each, by the probability of a"),
    ],
)
def test_an_action_in_words(of, text):
    assert str(Action(**of)) == text


@pytest.mark.parametrize("name", ["to call", "2nd", "très", ""])
def test_an_action_names_a_table(name):
    assert faults(raw("score.actions", {name: {"top": 0.1}})) == [
        f"score: the action `{name}` names a table; use letters, digits and _"
    ]


@pytest.mark.parametrize("uri", ["models:/churn@champion", "models:/churn/3", "models:/a b@c-d", "runs:/0a"])
def test_a_model_is_an_alias_a_version_or_a_run(uri):
    assert Score(model=uri).model == uri


@pytest.mark.parametrize(
    "uri", ["models:/churn", "models:/churn/x", "models:/a/b/1", "runs:/0a/model", " models:/a/1", "models:/a/1\n"]
)
def test_other_addresses_of_models_are_refused(uri):
    (sentence,) = faults(raw("score.model", uri))
    assert sentence.startswith("score.model must be like `models:/churn@champion`, `models:/churn/3` or `runs:/0123abcd`")


@pytest.mark.parametrize(
    ("label", "of", "sentence"),
    [
        ({"column": "left", "positive": "yes"}, "yes", "score.actions.call.of names one of several classes"),
        ({"column": "left", "separator": ","}, None, "score.actions.call: this model gives the probabilities of several classes; name one"),
        ({"column": "left", "bands": [1]}, None, "score.actions.call: this model gives the probabilities of several classes; name one"),
    ],
)  # fmt: skip
def test_an_action_names_a_class_if_there_are_several(label, of, sentence):
    (fault,) = faults(raw("score.actions", {"call": {"top": 0.1} | ({"of": of} if of else {})}) | {"label": label})
    assert fault.startswith(sentence)


def test_an_action_may_name_a_class_of_a_label_whose_kind_shows_in_the_rows():
    for of in ({}, {"of": "a"}):
        parse_conf(raw("score.actions", {"call": {"top": 0.1} | of}))
