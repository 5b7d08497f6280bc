"""Parts of networks: each learns its task, with the same bits for any batch and over any number of ranks."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from keyfold.features.matrix import Layout
from keyfold.labels import Binary
from keyfold.models.torch import Loop, Network, Torch
from keyfold.training.checkpoints import Checkpoints
from keyfold.training.collectives import SingleProcess
from keyfold.training.loop import Training
from small_networks import NETWORKS, OUTS, SIDE, conf_of, rows, trained


@pytest.mark.parametrize(
    ("name", "epochs", "rate"), [("two_tower", 30, 0.01), ("text", 30, 0.01), ("image", 15, 0.01), ("both", 40, 0.01)]
)
def test_each_learns_what_it_is_for(data, tmp_path, name, epochs, rate):
    _, told = trained(data, name, tmp_path, epochs=epochs, learning_rate=rate)
    assert min(t.validation for t in told) < 0.45  # 0.69 by chance


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "resnet50" or importlib.util.find_spec("torchvision")])
def test_a_row_has_the_same_bits_in_every_batch(name):
    conf, (table, _) = conf_of(name), rows(np.random.default_rng(2), 600)
    network = Network(conf.build(Layout.of(OUTS), 7), SimpleNamespace(outs=OUTS), conf)
    torch.set_num_threads(2)

    def answers(places, size):
        parts = [places[i : i + size] for i in range(0, len(places), size)]
        return np.concatenate(
            [network.numbers({n: v[at] for n, v in table.items()}, Binary("boolean", True, False)) for at in parts]
        ).view(np.uint64)

    try:
        every = np.arange(60 if name == "resnet50" else 600)
        whole, mixed = answers(every, 600), np.random.default_rng(1).permutation(every)
        assert len(set(whole.tolist())) > 10
        for size in (7, 97, 600):
            assert (answers(every, size) == whole).all(), size
        assert (answers(every[:30], 1) == whole[:30]).all()
        assert (answers(mixed, 600) == whole[mixed]).all()
        assert (answers(np.full(64, 5), 600) == whole[5]).all()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_linear_part_learns_as_many_times_as_fast(data, tmp_path, optimizer):
    """It is the same function as it begins; the first step of Adam is the learning rate, whatever the gradient is."""
    wide, deep = {}, {}
    for rate in (1, 30):
        conf = Torch.model_validate({"network": {"wide_deep": {"hidden": [4], "wide_rate": rate}}})
        plan = data["wide_deep"].train._replace(each=100)  # a batch is all rows
        network, before = conf.build(plan.layout, 7), conf.build(plan.layout, 7).state_dict()
        loop = Loop(optimizer=optimizer, learning_rate=1e-4)
        Training(network, loop, data["wide_deep"]._replace(train=plan), SingleProcess()).run(
            Checkpoints(tmp_path / str(rate)), print
        )
        moved = {name: tensor - before[name] for name, tensor in network.state_dict().items()}
        indices, numbers = torch.zeros(1, 10, dtype=torch.int32), torch.ones(1, 194)
        dense = network.output(network.dense(network.vectors(indices, numbers)))
        wide[rate] = (network(indices, numbers) - dense.squeeze(1)).item()
        deep[rate] = moved["dense.0.weight"]
    assert wide[30] == pytest.approx(30 * wide[1], rel=1e-3) and wide[1] != 0
    assert torch.allclose(deep[1], deep[30], atol=1e-7)


@pytest.mark.parametrize("name", NETWORKS)
def test_ranks_and_parts_of_batches_are_of_no_matter(data, together, tmp_path, name):
    given = {"epochs": 1, "learning_rate": 0.1, "optimizer": "sgd"}
    before = conf_of(name).build(data[name].train.layout, 7).state_dict()
    one, said = trained(data, name, tmp_path / "one", **given)
    parts, _ = trained(data, name, tmp_path / "parts", **given, accumulate=4)
    # Built one after another, since torch's seed is the process's; all begin as the first does.
    modules = [conf_of(name).build(data[name].train.layout, 7 + rank) for rank in range(2)]

    found = together(2, lambda ranks: trained(data, name, tmp_path / "two", ranks, modules[ranks.rank], **given, accumulate=2))
    for made in (parts, *(training for training, _ in found)):
        for key, tensor in one.module.state_dict().items():
            assert torch.allclose(made.module.state_dict()[key], tensor, atol=2e-4), key
    moved = [(one.module.state_dict()[key].double() - t.double()).abs().max().item() for key, t in before.items()]
    assert max(moved) > 2e-3, "by far more than they may differ"
    assert all(t[-1].keys == said[-1].keys for _, t in found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_is_of_no_matter_and_half_the_bits_of_little(data, tmp_path, name, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    given = {"epochs": 1, "learning_rate": 0.1, "optimizer": "sgd"}
    made = {}
    for device, mixed in (("cpu", False), ("cuda", False), ("cuda", True)):
        module = conf_of(name).build(data[name].train.layout, 7).to(device)
        made[device, mixed] = trained(data, name, tmp_path / f"{device}-{mixed}", None, module, **given, mixed_precision=mixed)
    cpu, gpu, mixed = (training.module.state_dict() for training, _ in made.values())
    for key, tensor in cpu.items():
        assert torch.allclose(gpu[key].cpu(), tensor, atol=5e-4), key
        assert torch.allclose(mixed[key].cpu(), tensor, atol=5e-2), key
    assert any(not torch.allclose(mixed[key], gpu[key], atol=1e-6) for key in gpu)


def test_statistics_of_batch_normalisation_stay_as_they_are(data, tmp_path):
    before = conf_of("resnet50").build(data["resnet50"].train.layout, 7).state_dict()
    after = trained(data, "resnet50", tmp_path, epochs=1)[0].module.state_dict()
    still = {key for key in before if torch.equal(before[key], after[key])}
    assert {key for key in before if "running" in key or "batches" in key} == still != set(before)


def test_what_fills_a_text_up_says_nothing(data):
    module = conf_of("text").build(data["text"].train.layout, 7).eval()
    numbers = torch.zeros(2, SIDE * SIDE * 3 + 2)
    short = torch.tensor([[0, 0, 3, 4, 0, 0, 0, 0, 1, 1], [0, 0, 4, 3, 0, 0, 0, 0, 1, 1]], dtype=torch.int32)
    found = module(short, numbers)
    module.text.table.weight.data[0] = 7.0
    assert torch.equal(module(short, numbers), found) and found[0] != found[1]
