"""Messages of ranks to the driver, and the choice of a network interface; the ranks themselves are in tests/horovod."""

import json
import threading

import pytest

from keyfold.errors import ConfError
from keyfold.training import horovod_launch
from keyfold.training.horovod_launch import send_to_driver


def lost(folder, rank, kind, text):
    (folder / f"lost-{rank}").write_text(json.dumps({"kind": kind, "text": text}))


def test_messages_of_rank_0_are_reported_once_and_in_order(tmp_path):
    reported, done = [], threading.Event()
    send_to_driver(tmp_path, [1, 0.5])
    send_to_driver(tmp_path, [2, 0.25])
    with (tmp_path / "messages").open("a") as file:
        file.write("[3, 0.1")  # is still being written
    done.set()
    horovod_launch._watch(tmp_path, reported.append, done, threading.Event())
    assert reported == [[1, 0.5], [2, 0.25]]


def test_the_other_ranks_are_stopped_some_time_after_one_was_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(horovod_launch, "_GRACE", 0)
    lost(tmp_path, 1, "", "killed")
    done, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=horovod_launch._watch, args=(tmp_path, print, done, stop))
    thread.start()
    assert stop.wait(5)
    done.set()
    thread.join()


def test_the_reason_is_that_of_the_rank_that_failed(tmp_path):
    assert not horovod_launch._read_reason(tmp_path)
    lost(tmp_path, 0, "", horovod_launch._SILENT)
    assert horovod_launch._read_reason(tmp_path) == "another rank is not responding"
    lost(tmp_path, 1, "", "out of memory")
    (tmp_path / "lost-2").write_text('{"kind": "", "te')
    assert horovod_launch._read_reason(tmp_path) == "out of memory"
    lost(tmp_path, 3, "ConfError", "no GPU")
    with pytest.raises(ConfError, match="no GPU"):
        horovod_launch._read_reason(tmp_path)


def test_a_rank_writes_why_it_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOROVOD_RANK", "1")

    def fails():
        raise ConfError("no GPU")

    with pytest.raises(ConfError):
        horovod_launch._Rank(fails, tmp_path)()
    assert json.loads((tmp_path / "lost-1").read_text()) == {"kind": "ConfError", "text": "no GPU"}
    assert horovod_launch._Rank(lambda: 3, tmp_path)() == 3


def test_interfaces_are_common_if_each_host_has_its_own_address():
    one = {"lo": "127.0.0.1", "eth0": "10.0.0.1", "docker0": "172.17.0.1", "ib0": "10.1.0.1"}
    other = {"lo": "127.0.0.1", "eth0": "10.0.0.2", "docker0": "172.17.0.1"}
    assert horovod_launch._common_interfaces([one, other]) == {"eth0"}
    assert horovod_launch._common_interfaces([one]) == set(one)
