"""Features that take features."""

import pytest

from keyfold.errors import ConfError
from keyfold.features.inputs import feature_order
from keyfold.features.kinds import Feature


def test_features_come_after_the_features_they_take():
    crossed = Feature.model_validate({"crossed": {"input_cols": ["x", {"feature": "b"}], "num_buckets": 9}}).kind
    hashed = Feature.model_validate({"hashed": {"input_col": "x", "num_buckets": 9}}).kind
    assert feature_order({"a": crossed, "b": hashed}) == ["b", "a"]
    with pytest.raises(ConfError, match=r"takes itself: a → a"):
        feature_order(
            {
                "a": crossed.model_copy(
                    update={"input_cols": crossed.input_cols[:1] + [crossed.input_cols[1].model_copy(update={"feature": "a"})]}
                )
            }
        )
