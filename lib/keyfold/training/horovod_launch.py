"""Ranks as Spark tasks, by Horovod; where one is lost, all begin again from the last checkpoint.

Each rank shares the state folder with the driver: there the first one tells how far it is, and any one why it ended.
"""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from keyfold.engine.session import parallel_tasks
from keyfold.errors import ConfError, DataError, KeyfoldError, PromiseError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from keyfold.runtime.run import Run

RETRIES = 3
SILENCE = 30  # seconds without a word from a rank after which the others take it for lost
_SILENT = "another one does not answer"
_GRACE = 10  # seconds that the others then have to end by themselves
_SETTINGS = {
    "HOROVOD_GLOO_TIMEOUT_SECONDS": str(SILENCE),
    "HOROVOD_STALL_CHECK_TIME_SECONDS": str(SILENCE),
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": str(2 * SILENCE),
}


def run_ranks(
    run: "Run", ranks: int, interface: str | None, folder: Path, work: Callable[[], Any], told: Callable[[Any], None]
) -> Any:
    """What rank 0 returns of `work`, which all ranks run; what it gives to `tell` comes to `told`.

    Errors of the conf or the data are those of the ranks; PromiseError where ranks are lost again and again.
    """
    import horovod.spark

    folder.mkdir(parents=True, exist_ok=True)
    nics = {_interface(run.spark, ranks, interface, folder)}
    settings = _SETTINGS | {key: value for key, value in os.environ.items() if key.startswith("HOROVOD_")}
    for attempt in range(RETRIES + 1):
        for left in folder.glob("lost-*"):
            left.unlink()
        (folder / "told").unlink(missing_ok=True)
        began = time.monotonic()
        try:
            with open(folder / "output", "a", encoding="utf-8") as output, _watched(folder, told, output):
                found: list[Any] = horovod.spark.run(
                    _Rank(work, folder), num_proc=ranks, use_gloo=True, nics=nics, verbose=0, env=settings,
                    executable=os.environ.get("PYSPARK_PYTHON", sys.executable),
                    stdout=output, stderr=output,
                )  # fmt: skip
            return found[0]
        except Exception as error:
            why = _why(folder) or (str(error).strip() or repr(error)).splitlines()[-1]
            if attempt == RETRIES:
                raise PromiseError(
                    f"train: a rank was lost {attempt + 1} times, the last time after {time.monotonic() - began:.0f} s ({why}); what the ranks "
                    f"said is in {folder / 'output'}. `train` again goes on from the last checkpoint"
                ) from error
            run.say(f"a rank was lost ({why}); all begin again from the last checkpoint, {RETRIES - attempt} times at most")
    raise AssertionError


class _Rank:
    """What a rank runs: the work, with a word of why it ended where it fails."""

    def __init__(self, work: Callable[[], Any], folder: Path) -> None:
        self.work, self.folder = work, folder

    def __call__(self) -> Any:
        try:
            return self.work()
        except BaseException as error:
            text = str(error) if isinstance(error, KeyfoldError) else repr(error)
            if type(error).__name__ == "HorovodInternalError":  # of all the others, too
                text = _SILENT
            said = {"kind": type(error).__name__ if isinstance(error, KeyfoldError) else "", "text": text}
            (self.folder / f"lost-{os.environ.get('HOROVOD_RANK', '')}").write_text(json.dumps(said), "utf-8")
            traceback.print_exc()
            raise


def send_to_driver(folder: Path, said: Any) -> None:
    """From rank 0 to the driver, as JSON."""
    with open(folder / "told", "a", encoding="utf-8") as file:
        file.write(json.dumps(said) + "\n")


def _why(folder: Path) -> str:
    """The reason that a rank gave (its own error where it is the conf's or the data's)."""
    given = []
    for path in sorted(folder.glob("lost-*")):
        with contextlib.suppress(ValueError):  # one that could not be written
            given.append(json.loads(path.read_text("utf-8")))
    for said in given:
        for kind in (ConfError, DataError):
            if said["kind"] == kind.__name__:
                raise kind(said["text"])
    # That others do not answer is the least of reasons.
    return min((said["text"].strip()[:200] for said in given), key=lambda text: text == _SILENT, default="")


@contextlib.contextmanager
def _watched(folder: Path, told: Callable[[Any], None], output: TextIO) -> Iterator[None]:
    """Passes on what rank 0 tells; where a rank ended badly and others do not end (one is frozen), has Horovod kill them.

    The stack trace of the thread in which Horovod ran its Spark job goes where the ranks' output does.
    """
    from horovod.runner import gloo_run

    done, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, told, done, stop), daemon=True)
    # Horovod would take SIGINT and SIGTERM for itself, to set an event on which it kills the ranks; this is that event.
    given, hook = gloo_run.register_shutdown_event, threading.excepthook
    gloo_run.register_shutdown_event = lambda: stop
    threading.excepthook = lambda of: traceback.print_exception(of.exc_type, of.exc_value, of.exc_traceback, file=output)
    thread.start()
    try:
        yield
    finally:
        done.set()
        stop.set()
        thread.join()
        gloo_run.register_shutdown_event, threading.excepthook = given, hook


def _watch(folder: Path, told: Callable[[Any], None], done: threading.Event, stop: threading.Event) -> None:
    place, lost, ended = 0, 0.0, False
    while not ended:
        ended = done.wait(0.3)
        with contextlib.suppress(FileNotFoundError), open(folder / "told", encoding="utf-8") as file:
            file.seek(place)
            for line in iter(file.readline, ""):
                if line.endswith("\n"):
                    told(json.loads(line))
                    place = file.tell()
        if any(folder.glob("lost-*")):
            lost = lost or time.monotonic()
            if time.monotonic() - lost > _GRACE:
                stop.set()


# --- before anything starts ---


def _interface(spark: "SparkSession", ranks: int, wanted: str | None, folder: Path) -> str:
    """The network interface of all ranks and the driver (ConfError where they cannot train together)."""
    context = spark.sparkContext
    conf = context.getConf()
    there = parallel_tasks(spark) if (context.master or "").startswith("local") else context.defaultParallelism
    there //= int(conf.get("spark.task.cpus", "1") or 1)
    if there < ranks:
        raise ConfError(f"train.ranks is {ranks}, and Spark runs {there} tasks at once; take fewer ranks, or more cores")
    if conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        raise ConfError(
            "train.ranks: with spark.dynamicAllocation.enabled Spark may take a rank's executor away; submit with "
            "--conf spark.dynamicAllocation.enabled=false"
        )
    mark = folder / "preflight"
    mark.write_text("", "utf-8")
    try:
        tasks = context.parallelize(range(ranks), ranks).barrier()  # all at once, so on all hosts that ranks will be on
        found = [_host(mark), *tasks.mapPartitions(lambda _: [_host(mark)]).collect()]
    finally:
        mark.unlink()
    for said in found:
        if said.error:
            raise ConfError(f"train.ranks: on {said.name} Horovod cannot be used: {said.error}")
        if not said.sees:
            raise ConfError(f"train.ranks: {said.name} does not see {folder}; name a folder that all hosts share in KEYFOLD_HOME")
    hosts = {said.name: said.interfaces for said in found}
    common = set.intersection(*map(set, hosts.values()))
    if len(hosts) > 1:  # of one address on two hosts, as lo and docker0: it leads nowhere
        common = {name for name in common if len({some[name] for some in hosts.values()}) == len(hosts)}
    if wanted is not None and wanted not in common:
        raise ConfError(
            f"train.interface: not all hosts have `{wanted}`; they have {', '.join(sorted(common)) or 'none in common'}"
        )
    if not common:
        raise ConfError("train.ranks: the hosts have no network interface of one name; give them one")
    return wanted or ("lo" if "lo" in common else min(common))


class _Host(NamedTuple):
    """What a process finds where it runs: its interfaces that are up, with their addresses."""

    name: str
    error: str
    sees: bool
    interfaces: dict[str, str]


def _host(mark: Path) -> _Host:
    import socket

    error, interfaces = "", {}
    try:
        import horovod.torch  # noqa: F401
        import psutil

        up = {name for name, said in psutil.net_if_stats().items() if said.isup}
        every = ((n, a) for n, some in psutil.net_if_addrs().items() for a in some)
        interfaces = {name: said.address for name, said in every if name in up and said.family == socket.AF_INET}
    except Exception as problem:  # noqa: BLE001 - a library that does not load may say so in any way
        error = repr(problem)
    return _Host(socket.gethostname(), error, mark.exists(), interfaces)
