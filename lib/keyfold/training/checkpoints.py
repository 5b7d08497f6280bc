"""Checkpoints of a training, in safetensors and JSON; each folder is complete or absent."""

import json
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class Checkpoint(NamedTuple):
    """The tensors of the network and the optimizer by name, and the position and history of the training as JSON."""

    tensors: "dict[str, Tensor]"
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder: the last `keep`, and the one with the lowest validation loss. A thread writes them in turn."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep
        self._thread, self._written = ThreadPoolExecutor(1), Future[None]()
        self._written.set_result(None)

    def write(self, step: int, checkpoint: Checkpoint) -> None:
        """Starts to write a checkpoint; returns once its tensors are copied (OSError if the former one could not be written)."""
        tensors = {name: t.detach().cpu().clone().contiguous() for name, t in checkpoint.tensors.items()}
        self.wait()
        self._written = self._thread.submit(self._write, step, Checkpoint(tensors, checkpoint.state))

    def wait(self) -> None:
        """Waits until the last checkpoint is on disk (OSError if it could not be written)."""
        self._written.result()

    def _write(self, step: int, checkpoint: Checkpoint) -> None:
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        staged = self.folder / f".writing-{step}-{os.getpid()}"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        save_file(checkpoint.tensors, staged / "tensors.safetensors")
        (staged / "state.json").write_text(json.dumps(checkpoint.state), "utf-8")
        for path in (*staged.iterdir(), staged):
            _flush(path)
        target = self.folder / f"step-{step:09d}"
        shutil.rmtree(target, ignore_errors=True)  # of an earlier run, whose steps this one repeats
        staged.rename(target)
        _flush(self.folder)
        self._prune()

    def _prune(self) -> None:
        best = self.best
        for path in self._complete[: -self.keep]:
            if path != best:
                shutil.rmtree(path)

    @property
    def _complete(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    @property
    def last(self) -> Path | None:
        """The newest checkpoint."""
        return max(self._complete, default=None)

    @property
    def best(self) -> Path | None:
        """The checkpoint with the lowest validation loss, None if no loss was measured."""
        measured = [(checkpoint_state(path).get("validation"), path) for path in self._complete]
        return min(((loss, path) for loss, path in measured if loss is not None), default=(None, None))[1]

    def clear(self) -> None:
        """Deletes all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint (DataError if it is damaged)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return Checkpoint(load_file(path / "tensors.safetensors"), checkpoint_state(path))
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            f"the checkpoint {path} is damaged ({error}); delete it, and training resumes from an older one"
        ) from error


def checkpoint_state(path: Path) -> dict[str, Any]:
    """The position and history of a training at a checkpoint."""
    return json.loads((path / "state.json").read_text("utf-8"))  # type: ignore[no-any-return]


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
