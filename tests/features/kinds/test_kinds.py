"""What all kinds have in common."""

import pytest
from pydantic import ValidationError

from keyfold.features.kind import FeatureInput
from keyfold.features.kinds import KINDS, Feature
from keyfold.features.kinds.one_hot import HashedUnseen


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"bucketized": {"input_col": "x"}}, "either `boundaries` or `num_buckets`"),
        ({"bucketized": {"input_col": "x", "boundaries": [2, 1]}}, "must be ascending"),
        ({"text": {"input_col": "x"}}, "either `num_buckets`"),
        ({"numeric": {"input_col": "x", "clip": [0.5, 2]}}, "two quantiles between 0 and 1"),
    ],
)
def test_a_conf_that_cannot_be_is_refused(conf, message):
    with pytest.raises(ValidationError, match=message):
        Feature.model_validate(conf)


@pytest.mark.parametrize("section", [*KINDS.values(), FeatureInput, HashedUnseen], ids=lambda section: section.__name__)
def test_each_option_is_described(section):
    assert [name for name, field in section.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_kind_documents_its_output_and_null(kind):
    paragraphs = {line.strip().partition(":")[0] for line in kind.__doc__.splitlines()}
    assert {"Output", "NULL", "Errors"} <= paragraphs
    assert kind.__doc__.splitlines()[0].endswith(".")
