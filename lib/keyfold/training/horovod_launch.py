"""Launches ranks with Horovod; if one is lost, all restart from the last checkpoint.

All ranks and the driver share the state folder: rank 0 sends its progress through it, and each rank the reason why it ended.
"""

import contextlib
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from keyfold.engine.launcher import Launcher, RankKilledError
from keyfold.errors import ConfError, DataError, KeyfoldError, PromiseError

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

RETRIES = 3
SILENCE = 30  # seconds without a message from a rank after which the others consider it lost
_SILENT = "another rank is not responding"
_GRACE = 10  # seconds that the other ranks then have to end by themselves
_SETTINGS = {
    "HOROVOD_GLOO_TIMEOUT_SECONDS": str(SILENCE),
    "HOROVOD_STALL_CHECK_TIME_SECONDS": str(SILENCE),
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": str(2 * SILENCE),
}


def run_ranks(
    run: "Run", ranks: int, interface: str | None, folder: Path, work: Callable[[], Any], report: Callable[[Any], None]
) -> Any:
    """Runs `work` on all ranks and returns the result of rank 0; `report` gets each message that rank 0 sends to the driver.

    Raises a ConfError or DataError of a rank, and PromiseError if ranks are lost again and again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    launcher = run.engine.launcher
    interface = _choose_interface(launcher, ranks, interface, folder)
    for attempt in range(RETRIES + 1):
        _remove_messages(folder)
        start = time.monotonic()
        try:
            with open(folder / "output", "a", encoding="utf-8") as output, _watched(folder, report, output):
                return launcher.run(_Rank(work, folder), ranks, interface, _settings(), output)
        except Exception as error:
            reason = _reason(folder, error)
            if attempt == RETRIES:
                raise _lost_error(folder, attempt + 1, time.monotonic() - start, reason) from error
            run.say(f"a rank was lost ({reason}); all ranks restart from the last checkpoint, {RETRIES - attempt} times at most")
    raise AssertionError


def _settings() -> dict[str, str]:
    return _SETTINGS | {key: value for key, value in os.environ.items() if key.startswith("HOROVOD_")}


def _reason(folder: Path, error: Exception) -> str:
    """Why a rank was lost: a signal, what a rank wrote, or the launcher's error."""
    written = _read_reason(folder)
    own = (str(error).strip() or repr(error)).splitlines()[-1]
    return own if isinstance(error, RankKilledError) else written or own


def _remove_messages(folder: Path) -> None:
    for path in folder.glob("lost-*"):
        path.unlink()
    (folder / "messages").unlink(missing_ok=True)


def _lost_error(folder: Path, attempts: int, seconds: float, reason: str) -> PromiseError:
    return PromiseError(
        f"train: a rank was lost {attempts} times, the last time after {seconds:.0f} s ({reason}); the output of the ranks is in "
        f"{folder / 'output'}. Run `train` again, and it resumes from the last checkpoint"
    )


class _Rank:
    """The function that each rank runs: the work; if it fails, the reason is written to the folder."""

    def __init__(self, work: Callable[[], Any], folder: Path) -> None:
        self.work, self.folder = work, folder

    def __call__(self) -> Any:
        try:
            return self.work()
        except BaseException as error:
            text = str(error) if isinstance(error, KeyfoldError) else repr(error)
            if type(error).__name__ == "HorovodInternalError":  # every other rank raises it, too
                text = _SILENT
            reason = {"kind": type(error).__name__ if isinstance(error, KeyfoldError) else "", "text": text}
            (self.folder / f"lost-{os.environ.get('HOROVOD_RANK', '')}").write_text(json.dumps(reason), "utf-8")
            traceback.print_exc()
            raise


def send_to_driver(folder: Path, message: Any) -> None:
    """Sends a message from rank 0 to the driver, as JSON."""
    with open(folder / "messages", "a", encoding="utf-8") as file:
        file.write(json.dumps(message) + "\n")


def _read_reason(folder: Path) -> str:
    """Why a rank was lost, empty if none gave a reason; raises a rank's own ConfError or DataError."""
    reasons = []
    for path in sorted(folder.glob("lost-*")):
        with contextlib.suppress(ValueError):  # the rank was lost while it wrote
            reasons.append(json.loads(path.read_text("utf-8")))
    for reason in reasons:
        for kind in (ConfError, DataError):
            if reason["kind"] == kind.__name__:
                raise kind(reason["text"])
    # That others do not respond is the least informative reason.
    return min((reason["text"].strip()[:200] for reason in reasons), key=lambda text: text == _SILENT, default="")


@contextlib.contextmanager
def _watched(folder: Path, report: Callable[[Any], None], output: TextIO) -> Iterator[None]:
    """Reports messages of rank 0. If a rank has failed and others do not end (one is frozen), lets Horovod kill them.

    Stack traces of threads in which Horovod runs go to the output of the ranks.
    """
    from horovod.runner import gloo_run

    done, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, report, done, stop), daemon=True)
    # Horovod would handle SIGINT and SIGTERM itself, to set an event on which it kills the ranks; `stop` is that event.
    register, hook = gloo_run.register_shutdown_event, threading.excepthook
    gloo_run.register_shutdown_event = lambda: stop
    threading.excepthook = lambda args: traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback, file=output)
    thread.start()
    try:
        yield
    finally:
        done.set()
        stop.set()
        thread.join()
        gloo_run.register_shutdown_event, threading.excepthook = register, hook


def _watch(folder: Path, report: Callable[[Any], None], done: threading.Event, stop: threading.Event) -> None:
    position, lost_at, ended = 0, 0.0, False
    while not ended:
        ended = done.wait(0.3)
        with contextlib.suppress(FileNotFoundError), open(folder / "messages", encoding="utf-8") as file:
            file.seek(position)
            for line in iter(file.readline, ""):
                if line.endswith("\n"):
                    report(json.loads(line))
                    position = file.tell()
        if any(folder.glob("lost-*")):
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > _GRACE:
                stop.set()


# --- checks before the launch ---


def _choose_interface(launcher: Launcher, ranks: int, wanted: str | None, folder: Path) -> str:
    """The network interface of the driver and all ranks (ConfError if they cannot train together)."""
    launcher.check(ranks)
    hosts = _visit_hosts(launcher, ranks, folder)
    for host in hosts:
        if host.error:
            raise ConfError(f"train.ranks: Horovod cannot be used on {host.name}: {host.error}")
        if not host.sees_folder:
            raise ConfError(f"train.ranks: {host.name} does not see {folder}; name a folder that all hosts share in KEYFOLD_HOME")
    common = _common_interfaces({host.name: host.interfaces for host in hosts}.values())
    if wanted is not None and wanted not in common:
        raise ConfError(
            f"train.interface: not all hosts have `{wanted}`; they have {', '.join(sorted(common)) or 'none in common'}"
        )
    if not common:
        raise ConfError("train.ranks: no network interface has the same name on all hosts; give one the same name everywhere")
    return wanted or ("lo" if "lo" in common else min(common))


class _Host(NamedTuple):
    """A host as one of its processes sees it: its name, why Horovod does not load, and the addresses of interfaces that are up."""

    name: str
    error: str
    sees_folder: bool
    interfaces: dict[str, str]


def _visit_hosts(launcher: Launcher, ranks: int, folder: Path) -> list[_Host]:
    """The hosts of the driver and of all ranks."""
    marker = folder / "preflight"
    marker.write_text("", "utf-8")
    try:
        return launcher.on_hosts(partial(_inspect_host, marker), ranks)
    finally:
        marker.unlink()


def _inspect_host(marker: Path) -> _Host:
    import socket

    error, interfaces = "", {}
    try:
        import horovod.torch  # noqa: F401
        import psutil

        up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
        addresses = ((name, address) for name, listed in psutil.net_if_addrs().items() for address in listed)
        interfaces = {name: a.address for name, a in addresses if name in up and a.family == socket.AF_INET}
    except Exception as problem:  # noqa: BLE001 - a library that fails to load may raise anything
        error = repr(problem)
    return _Host(socket.gethostname(), error, marker.exists(), interfaces)


def _common_interfaces(hosts: Iterable[dict[str, str]]) -> set[str]:
    """Names that all hosts have; not those with one address on several hosts, such as lo and docker0, which connect no hosts."""
    hosts = list(hosts)
    common = set.intersection(*map(set, hosts))
    if len(hosts) == 1:
        return common
    return {name for name in common if len({host[name] for host in hosts}) == len(hosts)}
