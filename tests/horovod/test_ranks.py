"""Two processes train together: as one does, and whatever happens to one of them."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from keyfold import examples
from keyfold.conf import load
from keyfold.errors import ConfError, DataError, PromiseError
from keyfold.ingest import ingest
from keyfold.run import Run
from keyfold.tables import home as state
from keyfold.training import distributed, launch

ROOT = Path(__file__).parents[2]
KEY = ["impression_id", "shown_at"]
SMALL = [
    "data.source.rows=6000", "report.without=[]", "report.collisions=false", "features.user.hashed.num_buckets=512", "train.ranks=2",
    "train.model={torch: {network: {wide_deep: {embedding: 4, hidden: [16], dropout: 0.1}}, loop: "
    "{epochs: 12, batch_size: 240, learning_rate: 0.003, checkpoint_steps: 5}}}",
]  # fmt: skip


def made(spark, *more):
    return Run(load(ROOT / "conf/ads.yaml", [*SMALL, *more]), spark)


@pytest.fixture(scope="module")
def trained(spark, tmp_path_factory):
    """Trains by an id, over the same rows each time."""
    os.environ["KEYFOLD_HOME"] = str(tmp_path_factory.mktemp("ranks"))
    run = made(spark)
    ingest(run)
    spec, found = examples.features(run)

    def go(run_id, *more):
        other = made(spark, *more)
        with other.job("train"):
            return distributed.trained(other, run_id, spec, found, KEY, (1.0, 1.0))[0].module.state_dict()

    return go


def ranks():
    """By number the processes that train."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        if any("gloo_exec_fn" in part for part in process.info["cmdline"] or []) and "-m" in process.info["cmdline"]:
            with contextlib.suppress(psutil.Error, KeyError):
                found[int(process.environ()["HOROVOD_RANK"])] = process
    return found


def after_a_checkpoint(run_id, rank, number):
    """Sends a signal to a rank once a checkpoint is there; what it yields says when."""
    sent = []

    def work():
        folder = state() / "checkpoints" / run_id
        while not list(folder.glob("step-*")):
            time.sleep(0.02)
        ranks()[rank].send_signal(number)
        sent.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    return thread, sent


def test_two_ranks_come_to_what_one_does_and_to_the_same_bits_though_one_is_lost(trained, capsys):
    alone, two = trained("alone", "train.ranks=1"), trained("two")
    for name, tensor in alone.items():
        assert np.allclose(tensor, two[name], atol=2e-4), name
    for run_id, rank, number in (
        ("killed", 1, signal.SIGKILL),
        ("killed first", 0, signal.SIGKILL),
        ("frozen", 1, signal.SIGSTOP),
    ):
        capsys.readouterr()
        thread, sent = after_a_checkpoint(run_id, rank, number)
        found = trained(run_id)
        thread.join()
        said = capsys.readouterr().err
        print(run_id, f"{time.monotonic() - sent[0]:.0f} s after it was lost\n", said)
        assert (
            "a rank was lost (another one does not answer)" in said and said.count("begin again") == 1 and "Traceback" not in said
        )
        for name, tensor in two.items():
            assert found[name].numpy().tobytes() == tensor.numpy().tobytes(), (run_id, name)
        assert not ranks()


def test_what_a_rank_finds_wrong_is_a_sentence_and_is_not_tried_again(trained, capsys, monkeypatch):
    for more, sentence in {
        ("train.ranks=12",): r"train.ranks is 12, and Spark runs 2 tasks at once; take fewer ranks",
        ("train.interface=nowhere0",): r"train.interface: not all hosts have `nowhere0`; they have .*lo",
    }.items():
        with pytest.raises(ConfError, match=sentence):
            trained("refused", *more)
    with pytest.raises(DataError, match=r"the loss is nan after epoch 1"):
        trained("nan", "train.model.torch.loop.learning_rate=1e30", "train.model.torch.loop.optimizer=sgd")
    assert "begin again" not in capsys.readouterr().err
    monkeypatch.setattr(launch, "RETRIES", 0)
    thread, _ = after_a_checkpoint("lost", 1, signal.SIGKILL)
    with pytest.raises(PromiseError, match=r"a rank was lost 1 times, .*`train` again goes on from the last checkpoint"):
        trained("lost")
    thread.join()
    assert "goes on from" not in capsys.readouterr().err
    trained("lost", "train.ranks=1")
    assert "goes on from" in capsys.readouterr().err
