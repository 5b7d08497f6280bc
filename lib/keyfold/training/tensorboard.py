"""What TensorBoard shows of a training: losses, and how the parameters of each layer are spread, by step."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keyfold.errors import ConfError

if TYPE_CHECKING:
    from torch import nn

    from keyfold.training.loop import EpochMetrics


def check_tensorboard() -> None:
    """ConfError where the package is not there."""
    if not importlib.util.find_spec("tensorboard"):
        raise ConfError("train.tensorboard needs the package tensorboard: ./spark-submit.sh setup torch installs it")


def tensorboard_writer(
    folder: Path, module: "nn.Module", told: "Callable[[EpochMetrics], None]"
) -> "Callable[[EpochMetrics], None]":
    """`told`, which writes each epoch down in a folder, too."""
    from torch.utils.tensorboard import SummaryWriter

    board = SummaryWriter(str(folder))

    def both(at: "EpochMetrics") -> None:
        board.add_scalar("loss/train", at.loss, at.step)
        if not math.isnan(at.validation):
            board.add_scalar("loss/validation", at.validation, at.step)
        for name, parameter in module.named_parameters():
            board.add_histogram(name, parameter.detach(), at.step)
        board.flush()
        told(at)

    return both
