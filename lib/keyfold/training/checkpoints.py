"""Checkpoints of a training: folders that are there as a whole or not at all, in safetensors and JSON."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class Checkpoint(NamedTuple):
    """Parameters and the optimizer's state by name, and JSON: where in the data it is, and what came of it."""

    tensors: "dict[str, Tensor]"
    state: dict[str, Any]


class Checkpoints:
    """Those in a folder: the last `keep`, and the one of the least validation loss. Written by a thread, one after another."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep
        self._writing: threading.Thread | None = None
        self._failed: list[BaseException] = []

    def write(self, step: int, found: Checkpoint) -> None:
        """Returns as soon as the tensors are copied."""
        copied = Checkpoint({name: t.detach().cpu().clone().contiguous() for name, t in found.tensors.items()}, found.state)
        self.wait()
        self._writing = threading.Thread(target=self._write, args=(step, copied), daemon=True)
        self._writing.start()

    def wait(self) -> None:
        """Until what was given is on the disk (OSError where it could not be written)."""
        if self._writing is not None:
            self._writing.join()
        if self._failed:
            raise self._failed.pop()

    def _write(self, step: int, found: Checkpoint) -> None:
        from safetensors.torch import save_file

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside = self.folder / f".writing-{step}-{os.getpid()}"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            save_file(found.tensors, aside / "tensors.safetensors")
            (aside / "state.json").write_text(json.dumps(found.state), "utf-8")
            for path in (*aside.iterdir(), aside):
                _flush(path)
            at = self.folder / f"step-{step:09d}"
            shutil.rmtree(at, ignore_errors=True)  # of a run before, whose steps this one takes again
            aside.rename(at)
            _flush(self.folder)
            self._prune()
        except BaseException as error:  # noqa: BLE001 - it is raised where the next one is written
            self._failed.append(error)

    def _prune(self) -> None:
        best = self.best
        for path in self._there[: -self.keep]:
            if path != best:
                shutil.rmtree(path)

    @property
    def _there(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    @property
    def last(self) -> Path | None:
        """The newest."""
        return max(self._there, default=None)

    @property
    def best(self) -> Path | None:
        """That of the least validation loss, where there is one."""
        measured = [(checkpoint_state(path).get("validation"), path) for path in self._there]
        return min(((loss, path) for loss, path in measured if loss is not None), default=(None, None))[1]

    def clear(self) -> None:
        """Takes all away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """What `write` wrote (DataError where it is damaged)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return Checkpoint(load_file(path / "tensors.safetensors"), checkpoint_state(path))
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"the checkpoint {path} is damaged ({error}); take it away, and an older one is gone on from") from error


def checkpoint_state(path: Path) -> dict[str, Any]:
    """Where in the data it is, and what came of it."""
    return json.loads((path / "state.json").read_text("utf-8"))  # type: ignore[no-any-return]


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
