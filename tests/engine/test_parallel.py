"""Tasks in processes: what they share is sent once, each has one thread, and their errors come back."""

import os
import signal
import subprocess
import sys
import time

import pytest

from keyfold.errors import ConfError, DataError


def test_tasks_get_what_they_share_and_results_keep_their_order(embedded):
    with embedded.map_shared(
        lambda shared, task: (shared["x"] * task, os.getpid(), os.environ["OMP_NUM_THREADS"]), {"x": 3}, 2
    ) as run:
        first, again = run([1, 2, 3]), run([4])
    assert [value for value, *_ in first + again] == [3, 6, 9, 12]
    assert os.getpid() not in {pid for _, pid, _ in first} and {threads for *_, threads in first} == {"1"}


def test_an_error_of_a_task_comes_back_and_a_killed_process_is_told(embedded):
    def run_task(shared, task):
        if task == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ConfError(f"{shared} {task}")

    with embedded.map_shared(run_task, "shared", 1) as run, pytest.raises(ConfError, match="shared fail"):
        run(["fail"])
    with embedded.map_shared(run_task, "shared", 1) as run, pytest.raises(DataError, match="a process that ran a task has ended"):
        run(["kill"])


_KILLED = """
import os, time
from keyfold.engine.parallel import map_in_processes
with map_in_processes(lambda shared, task: os.getpid(), None, 1) as run:
    print(*run([0]), flush=True)
    time.sleep(600)
"""


def test_processes_end_with_a_job_that_was_killed():
    job = subprocess.Popen(
        [sys.executable, "-c", _KILLED], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    pid = int(job.stdout.readline())
    job.kill()
    job.wait()
    until = time.monotonic() + 60
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.2)
    assert not _runs(pid)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
