"""Conditions of promotion: bounds on the test fold, their interval, enough rows, and the champion on the same rows."""

from math import nan

import pytest

from keyfold.conf.release import Release
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError
from keyfold.evaluation.intervals import Metric
from keyfold.release.criteria import Evidence, unmet_conditions


def why_not(metric, few=100, gain=None, not_compared="", **bound):
    name = "log_loss" if "at_most" in bound or bound.pop("loss", False) else "roc_auc"
    release = Release.model_validate({"promote_if": {name: bound}})
    against = None if gain is None else {name: Metric(*gain)}
    return unmet_conditions(release, Evidence({name: Metric(*metric)}, few, against, not_compared))


def test_bounds_hold_the_value_or_the_whole_interval():
    assert not why_not((0.8, 0.6, 0.9), at_least=0.75)
    assert why_not((0.7, 0.6, 0.9), at_least=0.75) == ["roc_auc on the test fold is 0.7000, and must be at least 0.75"]
    assert why_not((0.8, 0.6, 0.9), at_least=0.75, interval=True) == [
        "roc_auc on the test fold is 0.8000 (0.6000 – 0.9000), and its whole interval must be at least 0.75"
    ]
    assert not why_not((0.8, 0.75, 0.9), at_least=0.75, interval=True)
    assert why_not((0.3, 0.2, 0.5), at_most=0.4, interval=True)
    assert not why_not((0.3, 0.2, 0.4), at_most=0.4, interval=True)
    assert why_not((0.8, nan, nan), at_least=0.75, interval=True), "an interval that is not known clears nothing"
    assert why_not((nan, nan, nan), at_least=0.75)


def test_few_rows_of_a_class_promote_nothing():
    assert why_not((1.0, 1.0, 1.0), few=1, at_least=0.75) == [
        "the test fold has 1 row of a class, too few to measure roc_auc on (release.promote_if.roc_auc.min_rows is 10)"
    ]
    assert not why_not((1.0, 1.0, 1.0), few=10, at_least=0.75)
    number = Release.model_validate({"promote_if": {"r2": {"at_least": 0.5}}})
    assert unmet_conditions(number, Evidence({"r2": Metric(1, 1, 1)}, 3))[0].startswith(
        "the test fold has 3 rows, too few to measure r2 on"
    )
    assert not why_not((1.0, 1.0, 1.0), few=1, at_least=0.75, min_rows=1)
    assert not why_not((1.0, 1.0, 1.0), few=None, at_least=0.75), "a version of before"


def test_the_champion_is_beaten_if_the_whole_interval_of_the_difference_is_better():
    of = (0.8, 0.7, 0.9)
    assert not why_not(of, better_than="champion"), "there is none"
    assert not why_not(of, gain=(0.02, 0.001, 0.04), better_than="champion")
    assert why_not(of, gain=(0.02, -0.001, 0.04), better_than="champion") == [
        "roc_auc minus that of the champion on the same test rows is 0.0200 (-0.0010 – 0.0400), and the whole interval must be above 0"
    ]
    assert not why_not(of, gain=(-0.02, -0.04, -0.001), better_than="champion", loss=True)
    assert "must be below 0" in why_not(of, gain=(0.02, 0.001, 0.04), better_than="champion", loss=True)[0]
    assert why_not(of, not_compared="m version 1 cannot score these rows: x", better_than="champion") == [
        "roc_auc cannot be compared with the champion's: m version 1 cannot score these rows: x"
    ]


@pytest.mark.parametrize(("promote_if", "sentence"), [
    ({"better_than": "champion"}, "release.promote_if: must name the metric, as in {roc_auc: {better_than: champion}}"),
    ({"roc_auc": {}}, "release.promote_if.roc_auc: must have at_least, at_most or better_than"),
    ({"roc_auc": {"better_than": "champion", "interval": True}}, "release.promote_if.roc_auc: `interval` is for at_least and at_most"),
    ({"roc_auc": {"better_than": "challenger"}}, "release.promote_if.roc_auc.better_than must be `champion` (got 'challenger')"),
])  # fmt: skip
def test_conditions_of_promotion_are_checked(promote_if, sentence):
    with pytest.raises(ConfError) as error:
        parse_conf({"name": "x", "data": {"key": ["id"]}, "release": {"promote_if": promote_if}})
    assert sentence in str(error.value)
