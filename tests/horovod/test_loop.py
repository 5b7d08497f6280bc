"""The loop against plain torch, over any number of ranks (here threads), and stopped anywhere."""

import shutil
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Dropout, Noise
from keyfold.models.torch import STREAMS, Loop, Torch
from keyfold.training.checkpoints import Checkpoint, Checkpoints, read_checkpoint
from keyfold.training.collectives import SingleProcess
from keyfold.training.loop import Training, TrainingData
from keyfold.training.rank_task import RankTask
from keyfold.training.streams import Reader, StreamPlan, row_groups

OUTS = {"user": FeatureOutput("int", 20), "words": FeatureOutput("int", 6, 2), "price": FeatureOutput("double")}
CONF = Torch.model_validate({"network": {"wide_deep": {"embedding": 4, "hidden": [8], "dropout": 0.2}}})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """About 900 rows for training whose label follows from user, word and price, with some noise; 300 for validation."""
    at, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    plans = []
    for fold, rows in (("train", 75), ("validation", 25)):
        streams = []
        for stream in range(STREAMS):
            n = rows + int(rng.integers(-5, 6))
            user, words, price = rng.integers(0, 20, n), rng.integers(0, 6, (n, 2)), rng.normal(size=n)
            label = (user % 3) + (words == 2).sum(1) + price + rng.normal(size=n) * 0.3 > 1.5
            table = {
                "user": user.astype(np.int32), "words": pa.array(words.tolist(), pa.list_(pa.int32())), "price": price,
                "keyfold_label": label, "keyfold_order": rng.integers(-(2**63), 2**63 - 1, n), "keyfold_weight": rng.choice([1.0, 2.0], n),
            }  # fmt: skip
            path = str(at / f"{fold}-{stream}.parquet")
            pq.write_table(pa.table(table), path, row_group_size=20)
            streams.append(row_groups([path]))
        plans.append(StreamPlan(streams, Layout.of(OUTS), 3, 5))
    return TrainingData(*plans)


def trained(data, folder, ranks=None, conf=CONF, told=lambda _: None, **loop):
    training = Training(
        conf.build(data.train.layout, 7),
        Loop(**{"epochs": 3, "learning_rate": 0.02} | loop),
        data,
        ranks or SingleProcess(),
    )
    training.run(Checkpoints(folder), told)
    return training


@pytest.fixture
def over(together):
    def go(data, size, folder, **loop):
        torch.manual_seed(0)
        modules = [CONF.build(data.train.layout, 7 + rank) for rank in range(size)]  # all begin as rank 0 does

        def work(ranks):
            conf, told = Loop(**{"epochs": 3, "learning_rate": 0.02} | loop), []
            made = Training(modules[ranks.rank], conf, data, ranks)
            made.run(Checkpoints(folder), told.append)
            return made, told

        return together(size, work)

    return go


def bits(training):
    return {name: t.numpy().tobytes() for name, t in training.module.state_dict().items()}


@pytest.mark.parametrize("clip", [None, 0.05])
def test_a_step_over_all_rows_is_that_of_plain_torch(data, tmp_path, clip):
    conf = Torch.model_validate({"network": {"wide_deep": {"hidden": [8]}}})
    whole = data._replace(train=data.train._replace(each=100), weights=(1.0, 3.0))
    module = conf.build(data.train.layout, 7)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    (batch,) = Reader(whole.train, 0, 1).batches(0)
    real = batch.rows.weight > 0
    assert (~real).sum() > 100
    weight = torch.from_numpy(batch.rows.weight[real] * np.where(batch.rows.label[real] > 0, 3, 1))
    logits = module(torch.from_numpy(batch.rows.indices[real]), torch.from_numpy(batch.rows.numbers[real]))
    label = torch.from_numpy(batch.rows.label[real])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, weight=weight, reduction="sum") / weight.sum()
    loss.backward()
    if clip:
        torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    said = []
    found = trained(whole, tmp_path, conf=conf, told=said.append, epochs=1, optimizer="sgd", learning_rate=0.1, clip=clip)
    assert said[0].loss == pytest.approx(loss.item(), rel=1e-5)
    for name, tensor in module.state_dict().items():
        assert torch.allclose(found.module.state_dict()[name], tensor, atol=1e-6), name


def test_the_number_of_ranks_is_of_no_matter(data, over, tmp_path):
    one, said = over(data, 1, tmp_path / "1")[0]
    keys = [
        int(k)
        for groups_ in data.train.streams
        for g in groups_
        for k in pq.ParquetFile(g.file).read_row_group(g.number)["keyfold_order"].to_pylist()
    ]
    assert [told.keys for told in said] == [(len(keys) * n, sum(keys) * n % 2**64) for n in (1, 2, 3)]
    assert said[-1].loss < 0.6 * said[0].loss
    for size in (2, 3):
        for made, told in over(data, size, tmp_path / str(size)):
            assert [t.keys for t in told] == [t.keys for t in said]
            assert [t.validation for t in told] == pytest.approx([t.validation for t in said], rel=1e-4)
            for name, tensor in one.module.state_dict().items():
                assert torch.allclose(made.module.state_dict()[name], tensor, atol=2e-4), (size, name)


def test_the_learning_rate_rises_and_falls(data, tmp_path):
    rates = []

    class Telling(SingleProcess):
        def add(self, tensors):
            if len(tensors) > 2:
                rates.append(made.optimizer.param_groups[0]["lr"])  # of the step before

    conf = Loop(epochs=2, learning_rate=0.4, warm_up=0.25, decay="cosine", optimizer="sgd")
    made = Training(CONF.build(data.train.layout, 7), conf, data, Telling())
    made.run(Checkpoints(tmp_path), lambda _: None)
    steps = 2 * data.train.steps
    warm = steps * 0.25
    wanted = [0.4 * (s / warm if s < warm else 0.5 + 0.5 * np.cos(np.pi * (s - warm) / (steps - warm))) for s in range(1, steps)]
    assert rates[1:] == pytest.approx(wanted)


def test_dropout_follows_from_seed_step_stream_and_layer():
    noise, x = Noise(), torch.ones(6, 500)
    layers = [Dropout(0.3, number, noise) for number in (0, 1)]

    def dropped(seed, step, streams, layer=0):
        noise.at(seed, step, streams)
        return layers[layer](x[: 2 * len(streams)])

    whole = dropped(1, 5, range(3))
    assert torch.equal(torch.cat([dropped(1, 5, range(i, i + 1)) for i in range(3)]), whole)
    rows = [dropped(1, 5, range(3)), dropped(2, 5, range(3)), dropped(1, 6, range(3)), dropped(1, 5, range(3), 1)]
    assert len({row.numpy().tobytes() for found in rows for row in found}) == 4 * 6
    assert whole.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert 0.25 < (whole == 0).float().mean() < 0.35
    assert torch.equal(layers[0].eval()(x), x)


def test_a_rank_that_sees_another_checkpoint_than_the_first_ends(data, tmp_path):
    class Late(SingleProcess):
        def broadcast(self, tensors):
            tensors[0].fill_(7)

    with pytest.raises(RuntimeError, match=r"rank 0 sees the checkpoint of step 0, and rank 0 that of step 7"):
        trained(data, tmp_path, Late())


class Stopped(Exception):
    pass


class Stopping(SingleProcess):
    """Stops the loop after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def add(self, tensors):
        self.left -= len(tensors) > 1
        if self.left < 0:
            raise Stopped


def test_a_loop_that_was_stopped_anywhere_comes_to_the_same_bits(data, tmp_path):
    whole, said = trained(data, tmp_path / "whole", told=(told := []).append, checkpoint_steps=4), told
    steps = 3 * data.train.steps
    assert whole.step == steps
    for stop in (0, 3, 9, data.train.steps, data.train.steps + 6, steps - 1):
        folder = tmp_path / str(stop)
        with pytest.raises(Stopped):
            trained(data, folder, Stopping(stop), checkpoint_steps=4)
        for thread in threading.enumerate():  # what was being written when it stopped
            if "_write" in thread.name:
                thread.join()
        last = Checkpoints(folder).last
        began = int(last.name[-9:]) if last else 0
        assert stop - 4 - 1 < began <= stop
        again = trained(data, folder, told=(rest := []).append, checkpoint_steps=4)
        assert bits(again) == bits(whole)
        assert rest == said[len(said) - len(rest) :]


def test_the_best_epoch_is_kept_and_patience_ends(data, tmp_path):
    told = []
    found = trained(data, tmp_path, told=told.append, epochs=60, learning_rate=0.3, patience=2)
    losses = [t.validation for t in told]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 60
    assert (found.keys, found.epoch) == (told[-1].keys, len(told))  # only the parameters are those of the best
    assert found.mean_loss(data.validation) == pytest.approx(losses[best], rel=1e-6)
    assert Checkpoints(tmp_path).best.name == f"step-{told[best].step:09d}"
    assert len(list(tmp_path.glob("step-*"))) == 2 + (best < len(losses) - 2)


def test_a_checkpoint_is_of_when_it_was_given(tmp_path, monkeypatch):
    go, write = threading.Event(), Checkpoints._write
    monkeypatch.setattr(Checkpoints, "_write", lambda self, *given: (go.wait(20), write(self, *given)))
    some, tensor = Checkpoints(tmp_path), torch.ones(3)
    some.write(1, Checkpoint({"network.a": tensor}, {}))
    tensor.zero_()
    go.set()
    some.wait()
    assert read_checkpoint(some.last).tensors["network.a"].tolist() == [1, 1, 1]


def test_checkpoints_are_whole_or_not_there(data, tmp_path):
    some = Checkpoints(tmp_path / "c", keep=1)
    assert some.last is None and some.best is None
    (tmp_path / "c" / ".writing-9-1").mkdir(parents=True)
    tensor = torch.arange(3.0)
    some.write(1, Checkpoint({"network.a": tensor}, {"validation": 0.5}))
    tensor.zero_()  # it was copied
    some.write(2, Checkpoint({"network.a": tensor}, {"validation": 0.7}))
    some.write(3, Checkpoint({"network.a": tensor}, {}))
    some.wait()
    assert [p.name[-1] for p in sorted((tmp_path / "c").glob("step-*"))] == ["1", "3"]
    assert read_checkpoint(some.best).tensors["network.a"].tolist() == [0, 1, 2]
    (some.last / "tensors.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(DataError, match=r"the checkpoint .*000003 is damaged"):
        read_checkpoint(some.last)
    shutil.rmtree(tmp_path / "c")
    (tmp_path / "c").write_text("no folder")
    some.write(4, Checkpoint({"network.a": tensor}, {}))
    with pytest.raises(OSError):
        some.wait()


def work(data, folder, **loop):
    return RankTask(CONF.model_copy(update={"loop": Loop(**{"epochs": 3, "learning_rate": 0.02} | loop)}), data, folder, {})


def near(one, other, tolerance):
    return all(np.allclose(one.tensors[name], other.tensors[name], atol=tolerance) for name in one.tensors)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_a_cpu_is_taken_unless_one_is_asked_for(data, tmp_path):
    plain, mixed = (work(data, tmp_path / str(i), mixed_precision=bool(i)).run(SingleProcess(), lambda _: None) for i in (0, 1))
    assert plain.device == mixed.device == "CPU, float32"
    assert near(plain, mixed, 0)
    with pytest.raises(ConfError, match=r"loop.device: torch .* finds no GPU on .*; leave it out"):
        work(data, tmp_path, device="cuda").run(SingleProcess(), lambda _: None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_it_comes_to_what_it_does_on_a_cpu(data, tmp_path):
    cpu = work(data, tmp_path / "cpu", device="cpu").run(SingleProcess(), lambda _: None)
    gpu = work(data, tmp_path / "gpu").run(SingleProcess(), lambda _: None)
    assert cpu.device == "CPU, float32"
    assert gpu.device == f"{torch.cuda.get_device_name()}, float32"
    assert near(cpu, gpu, 2e-4)
    assert [told.keys for told in gpu.history] == [told.keys for told in cpu.history]
    with pytest.raises(Stopped):
        work(data, tmp_path / "again", checkpoint_steps=4).run(Stopping(data.train.steps + 6), lambda _: None)
    again = work(data, tmp_path / "again", checkpoint_steps=4).run(SingleProcess(), lambda _: None)
    assert near(gpu, again, 2e-4)
    mixed = work(data, tmp_path / "mixed", mixed_precision=True).run(SingleProcess(), lambda _: None)
    assert mixed.device.endswith(", bfloat16 mixed")
    assert not near(gpu, mixed, 1e-6)
    assert mixed.history[-1].validation == pytest.approx(gpu.history[-1].validation, rel=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_network_that_does_not_fit_on_the_gpu_is_a_sentence(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "_weighted_loss", lambda *_: torch.empty(2**50, device="cuda"))
    with pytest.raises(ConfError, match=r"the memory of .* is too small for this network and batches of .*; raise accumulate"):
        work(data, tmp_path).run(SingleProcess(), lambda _: None)


def test_what_cannot_be_is_a_sentence(data, tmp_path):
    with pytest.raises(DataError, match=r"the loss is nan after epoch 1.*lower learning_rate in train.model.torch.loop"):
        trained(data, tmp_path, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(ConfError, match=r"train.model: must name one of sklearn, torch"):
        parse_conf({"name": "x", "data": {"key": ["k"]}, "train": {"model": {}}})
    model = {"torch": {"network": {"wide_deap": {}}}}
    with pytest.raises(ConfError, match=r"did you mean `wide_deep`"):
        parse_conf({"name": "x", "data": {"key": ["k"]}, "train": {"model": model}})
