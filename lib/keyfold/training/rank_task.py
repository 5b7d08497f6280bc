"""The task of each process (rank) that trains a network together with others."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.errors import ConfError
from keyfold.models.torch import Torch
from keyfold.training import horovod_launch
from keyfold.training.tensorboard import tensorboard_writer

if TYPE_CHECKING:
    from torch import device, nn

    from keyfold.training.collectives import SingleProcess
    from keyfold.training.loop import EpochMetrics, TrainingData


class TrainedNetwork(NamedTuple):
    """A trained network's tensors by name (arrays), the metrics of each epoch, and the device and precision of the training."""

    tensors: dict[str, Any]
    history: "list[EpochMetrics]"
    device: str


class RankTask(NamedTuple):
    """Input of one rank; `start` are arrays by name that replace initial parameters, `board` is TensorBoard's folder."""

    conf: Torch
    data: "TrainingData"
    folder: Path  # of the checkpoints
    start: dict[str, Any]
    board: Path | None = None

    def run(self, ranks: "SingleProcess", report: "Callable[[EpochMetrics], None]") -> TrainedNetwork:
        """Trains; rank 0 calls `report` after each epoch. Raises ConfError if there is no such device or its memory is too small."""
        import torch

        from keyfold.training.checkpoints import Checkpoints
        from keyfold.training.loop import Training

        module, device = self._module(), self._device(ranks)
        module.to(device)
        training = Training(module, self.conf.loop, self.data, ranks)
        report = tensorboard_writer(self.board, module, report) if self.board and not ranks.rank else report
        try:
            training.run(Checkpoints(self.folder), report)
        except torch.OutOfMemoryError as error:
            raise ConfError(
                f"train: the memory of {torch.cuda.get_device_name(device)} is too small for this network and batches of "
                f"{self.conf.loop.batch_size:,} rows; raise accumulate, or lower batch_size, in train.model.torch.loop"
            ) from error
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        tensors = {name: t.cpu().numpy() for name, t in module.state_dict().items()}
        return TrainedNetwork(tensors, training.history, f"{name}, {'bfloat16 mixed' if training.mixed else 'float32'}")

    def _module(self) -> "nn.Module":
        import torch

        plan = self.data.train
        module = self.conf.build(plan.layout, plan.seed, self.data.head.units)
        module.load_state_dict({name: torch.from_numpy(array) for name, array in self.start.items()}, strict=False)
        return module

    def _device(self, ranks: "SingleProcess") -> "device":
        import torch

        gpus = torch.cuda.device_count()
        if self.conf.loop.device == "cuda" and not gpus:
            raise ConfError(
                f"train.model.torch.loop.device: torch {torch.__version__} finds no GPU on {socket.gethostname()}; "
                "leave it out, and a CPU is used if there is no GPU"
            )
        if self.conf.loop.device == "cpu" or not gpus:
            return torch.device("cpu")
        return torch.device("cuda", ranks.local % gpus)

    def run_as_rank(self) -> TrainedNetwork | None:
        """Runs the task in a process that Horovod started; None except on rank 0."""
        import torch

        from keyfold.training.collectives import Horovod

        torch.set_num_threads(1)
        ranks = Horovod()
        trained = self.run(ranks, lambda epoch: None if ranks.rank else horovod_launch.send_to_driver(self.folder, epoch))
        return None if ranks.rank else trained
