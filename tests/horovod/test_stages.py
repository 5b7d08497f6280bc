"""Training in stages: which parts move, at which rate, and after a stop."""

import itertools

import pytest
import torch

from keyfold.models.torch import Loop
from keyfold.training.checkpoints import Checkpoints
from keyfold.training.collectives import SingleProcess
from keyfold.training.loop import Training
from small_networks import conf_of, trained


def test_stages_move_their_parts_alone(data, tmp_path):
    stages = [{"trains": "output", "epochs": 1, "learning_rate": 0.1}, {"trains": "top", "epochs": 2, "learning_rate": 0.01}]
    snaps, rates = [], []

    class Telling(SingleProcess):
        def add(self, tensors):
            if len(tensors) > 2:
                rates.append((len(tensors) - 2, made.learning_rate * made._rate_factor()))

    conf = conf_of("image", stages=[*stages, {"trains": "all", "epochs": 1, "learning_rate": 0.001}], decay="cosine")
    module = conf.build(data["image"].train.layout, 7)
    made = Training(module, conf.loop, data["image"], Telling())
    snaps.append({k: t.clone() for k, t in module.state_dict().items()})
    made.run(Checkpoints(tmp_path), lambda _: snaps.append({k: t.clone() for k, t in module.state_dict().items()}))
    moved = [{k for k in a if not torch.equal(a[k], b[k])} for a, b in itertools.pairwise(snaps)]
    assert moved[0] == {"output.weight", "output.bias"}
    assert moved[1] == moved[2] == moved[0] | {"dense.0.weight", "dense.0.bias"}
    assert moved[3] == set(snaps[0])
    steps = data["image"].train.steps
    assert [n for n, _ in rates] == [2] * steps + [4] * 2 * steps + [len(snaps[0])] * steps
    firsts = [rates[i][1] for i in (0, steps, 3 * steps)]
    assert firsts == pytest.approx([0.1, 0.01, 0.001])
    assert rates[steps - 1][1] < 0.01 and rates[2 * steps][1] == pytest.approx(0.005)


@pytest.mark.parametrize("order", [("output", "all"), ("all", "output")])
def test_a_training_in_stages_goes_on_where_it_was_stopped(data, tmp_path, order):
    stages = [{"trains": trains, "epochs": 1, "learning_rate": 0.1} for trains in order]
    whole, _ = trained(data, "image", tmp_path / "whole", stages=stages)

    class Stops(SingleProcess):
        left = data["image"].train.steps + 4

        def add(self, tensors):
            self.left -= len(tensors) > 1
            if self.left < 0:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data, "image", tmp_path / "stopped", Stops(), stages=stages, checkpoint_steps=3)
    again, _ = trained(data, "image", tmp_path / "stopped", stages=stages)
    for key, tensor in whole.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[key], tensor), key


def test_loop_has_one_stage_unless_it_says_more():
    assert [(s.trains, s.epochs, s.learning_rate) for s in Loop(epochs=4, learning_rate=0.2).all_stages] == [("all", 4, 0.2)]
