"""TensorBoard output of a training: losses, and histograms of the parameters, by step."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from keyfold.training.loop import EpochMetrics


def tensorboard_writer(
    folder: Path, module: "nn.Module", report: "Callable[[EpochMetrics], None]"
) -> "Callable[[EpochMetrics], None]":
    """A callback that writes each epoch to a folder, then calls `report`."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def write_and_report(epoch: "EpochMetrics") -> None:
        writer.add_scalar("loss/train", epoch.loss, epoch.step)
        if not math.isnan(epoch.validation):
            writer.add_scalar("loss/validation", epoch.validation, epoch.step)
        for name, parameter in module.named_parameters():
            writer.add_histogram(name, parameter.detach(), epoch.step)
        writer.flush()
        report(epoch)

    return write_and_report
