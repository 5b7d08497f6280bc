"""Buckets of values."""

import pyarrow as pa

from keyfold.core.types import ArrowValue
from keyfold.features.fitting import FeatureStatistics
from keyfold.features.kinds import Feature


def test_null_and_empty_text_are_two_things():
    null, empty = ArrowValue(pa.array([None], pa.string()), "string"), ArrowValue(pa.array([""]), "string")
    feature = Feature.model_validate({"hashed": {"input_col": "x", "num_buckets": 10}}).kind
    state = feature.fit("f", FeatureStatistics([{}], []))
    assert feature.arrow([null], state)[0] == 0
    assert feature.arrow([empty], state)[0] > 0
