"""What TensorBoard shows of a training: losses, and how the parameters of each layer are spread, by step."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.errors import ConfError

if TYPE_CHECKING:
    from torch import nn

    from keyfold.training.loop import Told


def check() -> None:
    """ConfError where the package is not there."""
    if not importlib.util.find_spec("tensorboard"):
        raise ConfError("train.tensorboard needs the package tensorboard: ./spark-submit.sh setup torch installs it")


def writing(folder: Path, module: "nn.Module", told: "Callable[[Told], None]") -> "Callable[[Told], None]":
    """`told`, which writes each epoch down in a folder, too."""
    from torch.utils.tensorboard import SummaryWriter

    board = SummaryWriter(str(folder))

    def both(at: "Told") -> None:
        board.add_scalar("loss/train", at.loss, at.step)
        if not math.isnan(at.validation):
            board.add_scalar("loss/validation", at.validation, at.step)
        for name, parameter in module.named_parameters():
            board.add_histogram(name, parameter.detach(), at.step)
        board.flush()
        told(at)

    return both
