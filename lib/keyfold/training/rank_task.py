"""What each of the processes that train a network together is given, and does."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.errors import ConfError
from keyfold.models.torch import Torch
from keyfold.training import horovod_launch
from keyfold.training import tensorboard as board

if TYPE_CHECKING:
    from torch import device

    from keyfold.training.collectives import Collective
    from keyfold.training.loop import EpochMetrics, TrainingData


class TrainedNetwork(NamedTuple):
    """The network's tensors after a training, how it stood after each epoch, and what it ran on."""

    tensors: dict[str, Any]  # arrays by name
    course: "list[EpochMetrics]"
    device: str


class RankTask(NamedTuple):
    """What each rank is given."""

    conf: Torch
    data: "TrainingData"
    folder: Path
    first: dict[str, Any]  # arrays to begin with, by name
    board: Path | None = None

    def run(self, ranks: "Collective", told: "Callable[[EpochMetrics], None]") -> TrainedNetwork:
        """Trains (ConfError where there is no such device, or its memory is too small)."""
        import torch

        from keyfold.training.checkpoints import Checkpoints
        from keyfold.training.loop import Training

        plan = self.data.train
        module = self.conf.build(plan.layout, plan.seed)
        module.load_state_dict({name: torch.from_numpy(array) for name, array in self.first.items()}, strict=False)
        device = self._device(ranks)
        module.to(device)
        training = Training(module, self.conf.loss, self.conf.loop, self.data, ranks)
        told = board.tensorboard_writer(self.board, module, told) if self.board and not ranks.rank else told
        try:
            training.run(Checkpoints(self.folder), told)
        except torch.OutOfMemoryError as error:
            raise ConfError(
                f"train: the memory of {torch.cuda.get_device_name(device)} is too small for this network and batches of "
                f"{self.conf.loop.batch_size:,} rows; raise accumulate, or lower batch_size, in train.model.torch.loop"
            ) from error
        which = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        tensors = {name: t.cpu().numpy() for name, t in module.state_dict().items()}
        return TrainedNetwork(tensors, training.course, f"{which}, {'bfloat16 mixed' if training.mixed else 'float32'}")

    def _device(self, ranks: "Collective") -> "device":
        import torch

        there = torch.cuda.device_count()
        if self.conf.loop.device == "cuda" and not there:
            raise ConfError(
                f"train.model.torch.loop.device: torch {torch.__version__} finds no GPU on {socket.gethostname()}; "
                "leave it out, so that a CPU is taken where there is none"
            )
        if self.conf.loop.device == "cpu" or not there:
            return torch.device("cpu")
        return torch.device("cuda", ranks.local % there)

    def as_rank(self) -> TrainedNetwork | None:
        """The same in one of the processes that Horovod started; only the first returns it."""
        import torch

        from keyfold.training.collectives import Horovod

        torch.set_num_threads(1)
        ranks = Horovod()
        found = self.run(ranks, lambda at: horovod_launch.send_to_driver(self.folder, at) if not ranks.rank else None)
        return None if ranks.rank else found
