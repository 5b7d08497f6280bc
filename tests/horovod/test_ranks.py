"""Two processes train together: as one does, and whatever happens to one of them."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from keyfold.conf.use_case import load_conf
from keyfold.dataset.fit_features import fit_features
from keyfold.engine.home import home as state
from keyfold.errors import ConfError, DataError, PromiseError
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.training import horovod_launch, network
from keyfold.training.context import TrainingContext
from places import ROOT

SMALL = [
    "data.source.rows=6000", "report.without=[]", "report.collisions=false", "features.user.hashed.num_buckets=512", "train.ranks=2",
    "train.model={torch: {network: {wide_deep: {embedding: 4, hidden: [16], dropout: 0.1}}, loop: "
    "{epochs: 12, batch_size: 240, learning_rate: 0.003, checkpoint_steps: 5}}}",
]  # fmt: skip


def made(engine, *more):
    return Run(load_conf(ROOT / "conf/ads.yaml", [*SMALL, *more]), engine)


@pytest.fixture(scope="module")
def state_folder(embedded, tmp_path_factory):
    """A state folder with the rows."""
    os.environ["KEYFOLD_HOME"] = str(tmp_path_factory.mktemp("ranks"))
    ingest(made(embedded))


def trains(engine):
    """Trains by an id, over the same rows each time."""
    spec, found = fit_features(made(engine))

    def go(run_id, *more):
        other = made(engine, *more)
        with other.job("train") as job:
            job.run_id = run_id
            context = TrainingContext(other, job, spec, found)
            return network.train_network(context, other.conf.train.model.torch)[0].module.state_dict()

    return go


@pytest.fixture(scope="module")
def trained(embedded, state_folder):
    """Trains in processes of this machine."""
    return trains(embedded)


@pytest.fixture(scope="module")
def on_spark(spark_engine, state_folder):
    """Trains in tasks of Spark."""
    return trains(spark_engine)


MODULES = "keyfold.engine.rank", "horovod.spark.task.gloo_exec_fn"


def ranks():
    """By number the processes that train."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        if "-m" in (process.info["cmdline"] or []) and {*MODULES} & {*process.info["cmdline"]}:
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


@pytest.fixture(scope="module")
def two(trained):
    """What two ranks come to."""
    return trained("two")


def test_two_ranks_come_to_what_one_does(trained, two):
    for name, tensor in trained("alone", "train.ranks=1").items():
        assert np.allclose(tensor, two[name], atol=2e-4), name


def test_tasks_of_spark_come_to_the_same_bits(on_spark, two):
    for name, tensor in on_spark("spark").items():
        assert two[name].numpy().tobytes() == tensor.numpy().tobytes(), name


@pytest.mark.parametrize(
    ("launch", "rank", "number", "reason"),
    [
        ("trained", 1, signal.SIGKILL, "rank 1 was ended by SIGKILL, perhaps because memory ran out"),
        pytest.param("on_spark", 1, signal.SIGKILL, "another rank is not responding", marks=pytest.mark.slow),
        pytest.param("trained", 0, signal.SIGKILL, "rank 0 was ended by SIGKILL, perhaps", marks=pytest.mark.slow),
        pytest.param("on_spark", 0, signal.SIGKILL, "another rank is not responding", marks=pytest.mark.slow),
        pytest.param("trained", 1, signal.SIGSTOP, "another rank is not responding", marks=pytest.mark.slow),
        pytest.param("on_spark", 1, signal.SIGSTOP, "another rank is not responding", marks=pytest.mark.slow),
    ],
)
def test_they_come_to_the_same_bits_though_one_is_lost(request, two, capsys, launch, rank, number, reason):
    run_id = f"lost {rank} by {number} {launch}"
    thread, sent = after_a_checkpoint(run_id, rank, number)
    found = request.getfixturevalue(launch)(run_id)
    thread.join()
    said = capsys.readouterr().err
    print(run_id, f"{time.monotonic() - sent[0]:.0f} s after it was lost\n", said)
    assert f"a rank was lost ({reason}" in said and said.count("ranks restart") == 1 and "Traceback" not in said
    for name, tensor in two.items():
        assert found[name].numpy().tobytes() == tensor.numpy().tobytes(), name
    assert not ranks()


def test_what_a_rank_finds_wrong_is_a_sentence_and_is_not_tried_again(trained, capsys, monkeypatch):
    for more, sentence in {
        ("train.ranks=12",): r"train.ranks is 12, and this process may use \d+ cores; take fewer ranks",
        ("train.interface=nowhere0",): r"train.interface: not all hosts have `nowhere0`; they have .*lo",
    }.items():
        with pytest.raises(ConfError, match=sentence):
            trained("refused", *more)
    with pytest.raises(DataError, match=r"the loss is nan after epoch 1"):
        trained("nan", "train.model.torch.loop.learning_rate=1e30", "train.model.torch.loop.optimizer=sgd")
    assert "ranks restart" not in capsys.readouterr().err
    monkeypatch.setattr(horovod_launch, "RETRIES", 0)
    thread, _ = after_a_checkpoint("lost", 1, signal.SIGKILL)
    with pytest.raises(
        PromiseError, match=r"a rank was lost 1 times, .*Run `train` again, and it resumes from the last checkpoint"
    ):
        trained("lost")
    thread.join()
    assert "resumes from" not in capsys.readouterr().err
    trained("lost", "train.ranks=1")
    assert "resumes from" in capsys.readouterr().err


ON_A_CLUSTER = """
import sys
from pathlib import Path
from keyfold.conf.use_case import load_conf
from keyfold.dataset.fit_features import fit_features
from keyfold.engine.session import session
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.training.context import TrainingContext
from keyfold.training.network import train_network

conf, *options = sys.argv[1:]
run = Run(load_conf(Path(conf), options), session("ranks"))
ingest(run)
spec, rows = fit_features(run)
for run_id in ("whole", "lost-0", "lost-1"):
    with run.job("train") as job:
        job.run_id = run_id
        network, _ = train_network(TrainingContext(run, job, spec, rows), run.conf.train.model.torch)
    Path(run_id).mkdir()
    network.save(Path(run_id))
"""


def executor_of(rank):
    """The executor that a rank runs in."""
    return next(parent for parent in rank.parents() if "CoarseGrainedExecutorBackend" in " ".join(parent.cmdline()))


@pytest.mark.slow
def test_an_executor_that_dies_is_made_good(spark_home, tmp_path, made_state):
    home = made_state(tmp_path / "state")
    (tmp_path / "train.py").write_text(ON_A_CLUSTER)
    jars = (Path(sys.prefix) / "delta-jars").read_text().split()
    submit = [spark_home / "bin/spark-submit", "--master", "local-cluster[2,1,1024]", "--jars", ",".join(jars)]
    command = [*map(str, submit), "train.py", str(ROOT / "conf/ads.yaml"), *SMALL]
    environment = os.environ | {"SPARK_HOME": str(spark_home), "KEYFOLD_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    environment |= {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "lib")}
    took = []
    with open(tmp_path / "said", "w") as said:
        driver = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=said, stderr=said)
        for rank in (0, 1):
            while not list((home / "checkpoints" / f"lost-{rank}").glob("step-*")):
                assert driver.poll() is None, (tmp_path / "said").read_text()[-3000:]
                time.sleep(0.02)
            executor_of(ranks()[rank]).kill()
            killed = time.monotonic()
            while not (tmp_path / f"lost-{rank}").exists() and driver.poll() is None:
                time.sleep(0.1)
            took.append(time.monotonic() - killed)
        assert driver.wait(120) == 0, (tmp_path / "said").read_text()[-3000:]
    print("seconds from an executor's end to that of the training", took)
    assert (tmp_path / "said").read_text().count("ranks restart") == 2
    for rank in (0, 1):
        lost, whole = (tmp_path / name / "network.safetensors" for name in (f"lost-{rank}", "whole"))
        assert lost.read_bytes() == whole.read_bytes(), rank
