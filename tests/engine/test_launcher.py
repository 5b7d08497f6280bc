"""Ranks as processes of this machine; Horovod itself is in tests/horovod."""

import os
import pickle
import subprocess
import sys
import threading
from functools import partial
from types import SimpleNamespace

import pytest

from keyfold.engine.launcher import LocalLauncher, _Processes
from keyfold.errors import ConfError


@pytest.fixture
def output(tmp_path):
    with open(tmp_path / "output", "w") as output:
        yield output


def run(processes, command, rank=0, *events):
    return processes.run(command, SimpleNamespace(rank=rank), events)[0]


def test_a_rank_that_was_killed_is_named(output, tmp_path):
    processes = _Processes(output)
    assert run(processes, "echo trains") == 0 and processes.killed is None
    assert run(processes, "sh -c 'kill -9 $$'", 1) == -9
    assert str(processes.killed) == "rank 1 was ended by SIGKILL, perhaps because memory ran out"
    run(processes, "sh -c 'kill -15 $$'", 0)
    assert str(processes.killed).startswith("rank 1"), "the first one is the cause"
    assert (tmp_path / "output").read_text() == "trains\n"


def test_a_rank_that_failed_or_was_stopped_from_here_was_not_killed(output):
    processes, stop = _Processes(output), threading.Event()
    threading.Timer(0.1, stop.set).start()
    assert run(processes, "sleep 600", 1, threading.Event(), stop) == -9 and processes.killed is None
    processes = _Processes(output)
    assert run(processes, "false") == 1
    run(processes, "sh -c 'kill -9 $$'", 1)
    assert processes.killed is None


def test_ranks_need_cores_of_this_machine(embedded):
    launcher = LocalLauncher(2)
    launcher.check(2)
    with pytest.raises(ConfError, match=r"train.ranks is 3, and this process may use 2 cores; take fewer ranks"):
        launcher.check(3)
    assert launcher.on_hosts(lambda: 7, 2) == [7] and launcher.one_host and embedded.launcher.one_host


def test_rank_0_leaves_the_result(tmp_path):
    (tmp_path / "work").write_bytes(pickle.dumps(partial(sum, [1, 2])))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "keyfold.engine.rank", str(tmp_path), str(os.getpid())]
    for rank in ("1", "0"):
        assert not (tmp_path / "result").exists()
        subprocess.run(command, env=environment | {"HOROVOD_RANK": rank}, check=True)
    assert pickle.loads((tmp_path / "result").read_bytes()) == 3
