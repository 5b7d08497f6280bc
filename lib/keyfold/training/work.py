"""What each of the processes that train a network together is given, and does."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.models.torch import Torch
from keyfold.training import board, launch

if TYPE_CHECKING:
    from keyfold.training.loop import Data, Told
    from keyfold.training.ranks import Ranks


class Work(NamedTuple):
    """What each rank is given."""

    conf: Torch
    data: "Data"
    folder: Path
    first: dict[str, Any]  # arrays to begin with, by name
    board: Path | None = None

    def run(self, ranks: "Ranks", told: "Callable[[Told], None]") -> "tuple[dict[str, Any], list[Told]]":
        """The network's tensors after the training, and how it stood after each epoch."""
        import torch

        from keyfold.training.checkpoints import Checkpoints
        from keyfold.training.loop import Training

        plan = self.data.train
        module = self.conf.build(plan.layout, plan.seed)
        module.load_state_dict({name: torch.from_numpy(array) for name, array in self.first.items()}, strict=False)
        training = Training(module, self.conf.loss, self.conf.loop, self.data, ranks)
        training.run(Checkpoints(self.folder), board.writing(self.board, module, told) if self.board and not ranks.rank else told)
        return {name: t.numpy() for name, t in training.module.state_dict().items()}, training.course

    def as_rank(self) -> "tuple[dict[str, Any], list[Told]] | None":
        """The same in one of the processes that Horovod started; only the first returns it."""
        import torch

        from keyfold.training.ranks import Horovod

        torch.set_num_threads(1)
        ranks = Horovod()
        found = self.run(ranks, lambda at: launch.tell(self.folder, at) if not ranks.rank else None)
        return None if ranks.rank else found
