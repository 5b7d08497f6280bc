"""Folders for rows that do not fit into memory: one for each process, which holds a lock on it. Those of killed processes are removed."""

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import IO

from keyfold.engine.home import home

VARIABLE = "KEYFOLD_SPILL"
_PREFIX, _LOCK = "keyfold-", "lock"


class SpillFolder:
    """A new folder in `parent`, removed when the process ends."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(parent)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        (new / _LOCK).touch()
        lock = _locked(new)
        self.path = new.rename(parent / new.name[1:])  # visible to others once it is locked
        weakref.finalize(self, _remove, self.path, lock)


def _remove(folder: Path, lock: IO[str]) -> None:
    with lock:
        shutil.rmtree(folder, ignore_errors=True)


def spill_parent() -> Path:
    """The folder that KEYFOLD_SPILL names, else `spill` in the state folder if there is one, else that of the system."""
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    return home() / "spill" if home().is_dir() else Path(tempfile.gettempdir())


def _locked(folder: Path) -> IO[str]:
    """The open lock file of a folder (OSError if it is not there, is held by another process, or belongs to another user)."""
    file = (folder / _LOCK).open("r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _remove_stale(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            with _locked(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
