"""The section `train.model.torch`: each fault is refused with a sentence."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError
from keyfold.features.matrix import Layout
from keyfold.models.torch import Torch
from small_networks import OUTS


def test_what_cannot_be_is_a_sentence():
    layout = Layout.of(OUTS)

    def refused(words, network):
        with pytest.raises(ConfError, match=words):
            Torch.model_validate({"network": network}).build(layout, 0)

    refused(r"there is no feature `usr` \(did you mean `user`\?\)", {"two_tower": {"query": ["usr"], "candidate": ["ad"]}})
    refused(
        r"feature `(hours|noise|photo|price|words)` is in neither `query` nor `candidate`",
        {"two_tower": {"query": ["user"], "candidate": ["ad"]}},
    )
    refused(r"text.feature must be one of kind text with a length \(got `user`\)", {"joined": {"text": {"feature": "user"}}})
    refused(r"image.feature must be of kind image \(got `price`\)", {"joined": {"image": {"feature": "price"}}})

    def faulty(words, torch_conf):
        with pytest.raises(ConfError, match=words):
            parse_conf({"name": "x", "data": {"key": ["k"]}, "train": {"model": {"torch": torch_conf}}})

    faulty(r"must name one of wide_deep, two_tower, joined \(got none\)", {"network": {}})
    faulty(
        r"must name one of wide_deep, two_tower, joined \(got wide_deep and joined\)",
        {"network": {"wide_deep": {}, "joined": {}}},
    )
    stages = [{"trains": "top", "learning_rate": 0.1}]
    faulty(
        r"`stages` have their own epochs and learning rates; leave `epochs` out",
        {"network": {"wide_deep": {}}, "loop": {"epochs": 3, "stages": stages}},
    )
    faulty(
        r"all `stages` are trained, and `patience` would end them early",
        {"network": {"wide_deep": {}}, "loop": {"patience": 3, "stages": stages}},
    )
    both = {"query": ["user", "ad"], "candidate": ["ad"]}
    refused(r"feature `ad` is in `query` and in `candidate`", {"two_tower": both})
    faulty(r"must name one of model, file", {"network": {"wide_deep": {}}, "start": {}})
