"""The section `report`: the features that a model is trained without."""

import pytest

from keyfold.conf.report import remaining_features
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError
from small_conf import faults, raw


def crossed():
    conf = raw("features.x.crossed", {"input_cols": ["a", {"feature": "city"}], "num_buckets": 4})
    conf["features"]["n"] = {"numeric": {"input_col": "n"}}
    return conf


def test_a_feature_that_another_takes_is_left_out_with_it_or_not_at_all():
    made = crossed() | {"report": {"without": [["city"]]}}
    assert faults(made) == ["report.without.0: feature `x` takes `city`; leave out both, or neither"]
    parse_conf(made | {"report": {"without": [["city", "x"]]}})


def test_the_other_features_remain():
    kinds = {name: feature.kind for name, feature in parse_conf(crossed()).features.items()}
    assert remaining_features(kinds, ["n"]) == ["city", "x"] and remaining_features(kinds, ["x"]) == ["city", "n"]
    assert remaining_features(kinds, ["city", "x"]) == ["n"]
    with pytest.raises(ConfError, match=r"feature `x` takes `city`; leave out both, or neither"):
        remaining_features(kinds, ["city", "n"])
