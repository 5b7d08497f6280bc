"""What networks are made of: each learns what it is for, over any number of ranks, in stages, and from what others learnt."""

import importlib.util
import itertools
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.models.torch import STREAMS, Loop, Network, Start, Torch
from keyfold.training import tensorboard, warm_start
from keyfold.training.checkpoints import Checkpoints
from keyfold.training.collectives import SingleProcess
from keyfold.training.loop import EpochMetrics, Training, TrainingData
from keyfold.training.streams import StreamPlan, row_groups

SIDE = 8
OUTS = {
    "user": FeatureOutput("int", 12), "ad": FeatureOutput("int", 10), "words": FeatureOutput("int", 9, 6), "hours": FeatureOutput("int", 24, 2),
    "photo": FeatureOutput("float", length=SIDE * SIDE * 3, shape=(SIDE, SIDE, 3)), "price": FeatureOutput("double"), "noise": FeatureOutput("double"),
}  # fmt: skip
TASTE = np.random.default_rng(5).normal(size=(12, 10))
NETWORKS = {
    "wide_deep": {"wide_deep": {"embedding": 4, "hidden": [16], "dropout": 0.1}},
    "two_tower": {"two_tower": {"query": ["user", "price"], "candidate": ["ad", "words", "hours", "photo", "noise"], "size": 8}},
    "text": {"joined": {"text": {"feature": "words", "embedding": 8, "lstm": 12}, "hidden": [16]}},
    "image": {"joined": {"image": {"feature": "photo", "channels": [8, 16]}, "hidden": [16], "dropout": 0.1}},
    "both": {"joined": {"text": {"feature": "words", "embedding": 8, "lstm": 8}, "image": {"feature": "photo", "channels": [8]}}},
    "resnet50": {"joined": {"image": {"feature": "photo", "net": "resnet50"}, "hidden": []}},
}


def rows(rng, n):
    """Rows, and by network the label that it is for: who likes what, which word comes first, where a picture is bright."""
    words = np.zeros((n, 6), np.int32)
    for row, length in zip(words, rng.integers(2, 7, n), strict=True):
        row[:length] = rng.integers(3, 9, length)
        row[rng.permutation(length)[:2]] = [1, 2]
    photo = rng.random((n, SIDE, SIDE, 3), np.float32) * 0.3
    corner = rng.random(n) < 0.5
    for i in range(n):  # an upright or a lying stroke; the mean of all pixels does not tell them apart
        at = rng.integers(1, SIDE - 1)
        photo[i, :, at] += 0.7 * corner[i]
        photo[i, at, :] += 0.7 * (not corner[i])
    table = {
        "user": rng.integers(0, 12, n).astype(np.int32), "ad": rng.integers(0, 10, n).astype(np.int32), "price": rng.normal(size=n),
        "noise": rng.normal(size=n), "words": words, "hours": rng.integers(0, 24, (n, 2)).astype(np.int32), "photo": photo.reshape(n, -1),
    }  # fmt: skip
    first = (words == 1).argmax(1) < (words == 2).argmax(1)
    likes = TASTE[table["user"], table["ad"]] > 0
    return table, {
        "wide_deep": likes,
        "two_tower": likes,
        "text": first,
        "image": corner,
        "both": first ^ corner,
        "resnet50": corner,
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    at, rng, plans = tmp_path_factory.mktemp("rows"), np.random.default_rng(0), {}
    for name in NETWORKS:
        for fold, n in (("train", 10 if name == "resnet50" else 100), ("validation", 2 if name == "resnet50" else 20)):
            streams = []
            for stream in range(STREAMS):
                table, labels = rows(rng, n)
                path = str(at / f"{name}-{fold}-{stream}.parquet")
                made = {c: pa.array(v.tolist()) if v.ndim > 1 else v for c, v in table.items()}
                made |= {"keyfold_label": labels[name], "keyfold_order": rng.integers(-(2**63), 2**63 - 1, n)}
                pq.write_table(pa.table(made), path)
                streams.append(row_groups([path]))
            plans[name, fold] = StreamPlan(streams, Layout.of(OUTS), 3, 10)
    return {name: TrainingData(plans[name, "train"], plans[name, "validation"]) for name in NETWORKS}


def conf_of(name, **loop):
    return Torch.model_validate({"network": NETWORKS[name], "loop": loop})


def trained(data, name, folder, ranks=None, module=None, **loop):
    conf = conf_of(name, **loop)
    module = module or conf.build(data[name].train.layout, 7)
    training = Training(module, conf.loss, conf.loop, data[name], ranks or SingleProcess())
    told = []
    training.run(Checkpoints(folder), told.append)
    return training, told


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
        return np.concatenate([network.probability({n: v[at] for n, v in table.items()}) for at in parts]).view(np.uint64)

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
        Training(network, conf.loss, loop, data["wide_deep"]._replace(train=plan), SingleProcess()).run(
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


def test_stages_move_their_parts_alone(data, tmp_path):
    stages = [{"trains": "output", "epochs": 1, "learning_rate": 0.1}, {"trains": "top", "epochs": 2, "learning_rate": 0.01}]
    snaps, rates = [], []

    class Telling(SingleProcess):
        def add(self, tensors):
            if len(tensors) > 2:
                rates.append((len(tensors) - 2, made.learning_rate * made._rate_factor()))

    conf = conf_of("image", stages=[*stages, {"trains": "all", "epochs": 1, "learning_rate": 0.001}], decay="cosine")
    module = conf.build(data["image"].train.layout, 7)
    made = Training(module, conf.loss, conf.loop, data["image"], Telling())
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


def test_tensors_of_a_file_go_where_they_are_for(data, tmp_path):
    from safetensors.torch import save_file

    module = conf_of("image").build(data["image"].train.layout, 7)
    other = conf_of("image").build(data["image"].train.layout, 8)
    apart = {key.removeprefix("image."): t for key, t in other.state_dict().items() if key.startswith("image.")}
    save_file(apart | {"net.0.bias": torch.zeros(99)}, tmp_path / "some.safetensors")
    halves = {key: torch.nn.Parameter(t.to(torch.bfloat16)) for key, t in other.state_dict().items()}
    torch.save(halves | {"epoch": 3}, tmp_path / "some.pth")
    torch.save(torch.ones(2), tmp_path / "one.pth")

    def taken(**given):
        conf = Start(**given)
        return warm_start.start_tensors(conf, warm_start.find_start(conf), module, None)

    some, fresh = taken(file=str(tmp_path / "some.safetensors"), into="image")
    assert set(some) == {key for key in module.state_dict() if key.startswith("image.")} - {"image.net.0.bias"}
    assert "image.net.0.bias" in fresh and torch.equal(some["image.net.0.weight"], other.state_dict()["image.net.0.weight"])
    assert taken(file=str(tmp_path / "some.pth"))[1] == ["output.weight", "output.bias"]
    assert taken(file=str(tmp_path / "some.pth"), output="same")[1] == []
    with pytest.raises(DataError, match=r"no tensor of .*some.safetensors fits this network .*`into` names the part"):
        taken(file=str(tmp_path / "some.safetensors"))
    found = taken(file=str(tmp_path / "some.pth"))[0]
    assert all(t.dtype == torch.float32 and not t.requires_grad for t in found.values())
    with pytest.raises(DataError, match=r"one.pth must have tensors by name \(got Tensor\)"):
        taken(file=str(tmp_path / "one.pth"))
    with pytest.raises(ConfError, match=r"start.file: there is no file `gone.pth`"):
        taken(file="gone.pth")

    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"a": Runs()}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match=r"evil.pth "):
        taken(file=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_tensorboard_has_losses_and_parameters(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = tensorboard.tensorboard_writer(tmp_path, torch.nn.Linear(2, 1), (said := []).append)
    for epoch, held in ((0, 0.5), (1, float("nan"))):
        told(EpochMetrics(epoch, 10 * (epoch + 1), 0.7 - epoch / 10, held, (1, 1)))
    events = EventAccumulator(str(tmp_path), {"histograms": 0})
    events.Reload()
    assert [(e.step, round(e.value, 4)) for e in events.Scalars("loss/train")] == [(10, 0.7), (20, 0.6)]
    assert [e.step for e in events.Scalars("loss/validation")] == [10]
    assert [e.step for e in events.Histograms("weight")] == [10, 20] and [t.epoch for t in said] == [0, 1]


def test_what_cannot_be_is_a_sentence(data):
    layout = data["text"].train.layout

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


def test_loop_has_one_stage_unless_it_says_more():
    assert [(s.trains, s.epochs, s.learning_rate) for s in Loop(epochs=4, learning_rate=0.2).all_stages] == [("all", 4, 0.2)]
