"""The training loop: mini-batch descent over the global batches of all ranks, resumable at any step.

The gradient is that of the weighted loss over the global weight of the batch, so padding counts nothing and the number of ranks is of no
matter. All randomness follows from the seed, the step and the stream. It needs the package torch.
"""

import math
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from keyfold.errors import DataError
from keyfold.training.checkpoints import Checkpoint, Checkpoints, read_checkpoint
from keyfold.training.collectives import Collective
from keyfold.training.streams import Cells, Reader, StreamBatch, StreamPlan

if TYPE_CHECKING:
    from keyfold.models.torch import Loop

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
_LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": nn.functional.binary_cross_entropy_with_logits,
    "squared_error": nn.functional.mse_loss,
}


# Of the names of parameters, what a stage trains; none: all.
SUM_PARTS: dict[str, set[str]] = {"output": {"output"}, "top": {"output", "dense"}, "all": set()}


class TrainingData(NamedTuple):
    """The plans of the folds, and what an example of each class (negative, positive) weighs."""

    train: StreamPlan
    validation: StreamPlan
    weights: tuple[float, float] = (1.0, 1.0)


class EpochMetrics(NamedTuple):
    """How it stands after an epoch: mean losses; `keys`: how many rows were taken in, and the sum of the hashes of their keys."""

    epoch: int
    step: int
    loss: float
    validation: float
    keys: tuple[int, int]


class Training:
    """A network, its optimizer, and where in the data it is."""

    def __init__(self, module: nn.Module, loss: str, conf: "Loop", data: TrainingData, ranks: Collective) -> None:
        self.module, self.conf, self.data, self.ranks = module, conf, data, ranks
        self.loss = _LOSSES[loss]
        self.parameters = list(module.parameters())
        self.device = self.parameters[0].device
        self.mixed = conf.mixed_precision and self.device.type == "cuda"
        self.optimizer = _OPTIMIZERS[conf.optimizer](self.parameters, lr=conf.learning_rate, weight_decay=conf.weight_decay)
        self.epoch = self.step = 0  # of the batch that is next; steps are counted over all epochs
        self.lost, self.weight = self._nothing(), 0.0  # of this epoch so far; what is on a GPU is not waited for in each step
        self.keys = (0, 0)  # of all ranks
        self.best, self.since = math.inf, 0
        self._readers: dict[int, Reader] = {}
        self.course: list[EpochMetrics] = []  # of all epochs, those before a checkpoint too

    # --- from beginning to end ---

    def run(self, checkpoints: Checkpoints, told: Callable[[EpochMetrics], None]) -> None:
        """Trains until the last epoch, or until validation gets no better; then has the parameters of the best epoch."""
        self._begin(checkpoints.last)
        try:
            while self.epoch < self.conf.all_epochs and not self._waited:
                self._stage()
                for batch in self._steps():
                    self._descend(batch)
                    if self.step % self.conf.checkpoint_steps == 0 and self.step % self.data.train.steps:
                        self._write(checkpoints, {})
                self._end_epoch(checkpoints, told)
        finally:
            checkpoints.wait()
        if self.ranks.rank == 0 and (best := checkpoints.best):
            self._take_network(read_checkpoint(best))
        self._as_first()

    def by_heart(self, batch: StreamBatch, steps: int, least: float) -> list[float]:
        """The loss after each step of so many with one batch alone, until it is no more than `least`."""
        self._stage()
        losses: list[float] = []
        while len(losses) < steps and not (losses and losses[-1] <= least):
            self.lost, self.weight = self._nothing(), 0.0
            self._descend(batch)
            losses.append(float(self.lost) / self.weight)
        return losses

    @property
    def _waited(self) -> bool:
        return self.conf.patience is not None and self.since >= self.conf.patience

    def _begin(self, last: Path | None) -> None:
        """All ranks read the same checkpoint, or begin with the parameters of the first."""
        if last is not None:
            self._take(read_checkpoint(last))
        step = torch.tensor([self.step])
        self.ranks.broadcast([step])
        if int(step) != self.step:  # a shared folder may be seen late
            raise RuntimeError(
                f"rank {self.ranks.rank} sees the checkpoint of step {self.step}, and the first that of {int(step)}"
            )
        if last is None:
            self._as_first()

    def _as_first(self) -> None:
        """Has the parameters of rank 0, and what else belongs to the network."""
        self.ranks.broadcast(list(self.module.state_dict().values()))

    def _stage(self) -> None:
        """Has the parts of the network move that the stage of this epoch trains."""
        ends = accumulate(stage.epochs for stage in self.conf.all_stages)
        end, stage = next(pair for pair in zip(ends, self.conf.all_stages, strict=True) if self.epoch < pair[0])
        self.rate, self.until = stage.learning_rate, end * self.data.train.steps
        self.began = self.until - stage.epochs * self.data.train.steps
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(not SUM_PARTS[stage.trains] or bool(SUM_PARTS[stage.trains] & set(name.split("."))))
            if not parameter.requires_grad:
                parameter.grad = None  # an optimizer moves what has a gradient, be it 0
        self.moving = [p for p in self.parameters if p.requires_grad]

    def _steps(self) -> Iterator[StreamBatch]:
        return self._reader(self.data.train).batches(self.epoch, self.step % self.data.train.steps)

    def _reader(self, plan: StreamPlan) -> Reader:
        if id(plan) not in self._readers:
            self._readers[id(plan)] = Reader(plan, self.ranks.rank, self.ranks.size)
        return self._readers[id(plan)]

    def _end_epoch(self, checkpoints: Checkpoints, told: Callable[[EpochMetrics], None]) -> None:
        validation = self.over(self.data.validation)
        mean = float(self.lost) / self.weight
        known = self.data.validation.rows > 0
        if not math.isfinite(mean) or (known and not math.isfinite(validation)):
            raise DataError(
                f"train: the loss is {mean} after epoch {self.epoch + 1}, and {validation} in validation; "
                "lower learning_rate in train.model.torch.loop, or set clip"
            )
        if known:
            self.since = 0 if validation < self.best else self.since + 1
            self.best = min(validation, self.best)
        self.course.append(EpochMetrics(self.epoch, self.step, mean, validation, self.keys))
        told(self.course[-1])
        self.epoch += 1
        self.lost, self.weight = self._nothing(), 0.0
        self._write(checkpoints, {"validation": validation} if known else {})

    # --- a step ---

    def _descend(self, batch: StreamBatch) -> None:
        self.module.train()
        count, keys = batch.keys
        # In 32-bit parts, whose sums over ranks a double holds.
        said = torch.tensor([0.0, count, keys & 0xFFFFFFFF, keys >> 32], dtype=torch.float64)
        lost = self._nothing()
        for streams, part in self._parts(batch):
            if noise := getattr(self.module, "noise", None):
                noise.at(self.data.train.seed, self.step, streams)
            loss, weight = self._lost(part)
            loss.backward()  # type: ignore[no-untyped-call]
            lost += loss.detach().double()
            said[0] += weight
        for p in self.moving:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        gradients = [p.grad for p in self.moving if p.grad is not None]
        self.ranks.add([*gradients, lost, said])
        weight, count, low, high = said.tolist()
        self.lost += lost
        self.weight += weight
        self.keys = (self.keys[0] + int(count), (self.keys[1] + int(low) + (int(high) << 32)) % 2**64)
        self.step += 1
        if weight > 0:
            self._move(gradients, weight)
        self.optimizer.zero_grad(set_to_none=False)

    def _parts(self, batch: StreamBatch) -> Iterator[tuple[range, Cells]]:
        """The streams of a batch of this rank in as many parts as the conf says, each with its rows."""
        streams = self.data.train.owned(self.ranks.rank, self.ranks.size)
        each, rows = len(streams) // self.conf.accumulate, len(batch.rows.cells) // len(streams)
        for i in range(0, len(streams), each):
            yield streams[i : i + each], batch.rows.part(i * rows, (i + each) * rows)

    def _move(self, gradients: list[Tensor], weight: float) -> None:
        for gradient in gradients:
            gradient.div_(weight)
        if self.conf.clip is not None:
            nn.utils.clip_grad_norm_(self.moving, self.conf.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self._share()
        self.optimizer.step()

    def _share(self) -> float:
        """Of the learning rate, in each stage: rising over the warm-up, then as it is, or falling as a cosine."""
        whole, step = self.until - self.began, self.step - self.began
        warm = self.conf.warm_up * whole
        if step < warm:
            return step / warm
        gone = (step - warm) / max(1.0, whole - warm)
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, gone)) if self.conf.decay == "cosine" else 1.0

    def _nothing(self) -> Tensor:
        return torch.zeros(1, dtype=torch.float64, device=self.device)

    def _lost(self, rows: Cells) -> tuple[Tensor, Tensor]:
        """The weighted loss, summed, and the weight."""
        label, weight = torch.from_numpy(rows.label), torch.from_numpy(rows.weight)
        negative, positive = self.data.weights
        if (negative, positive) != (1.0, 1.0):
            weight = weight * torch.where(label > 0, positive, negative)
        there = torch.from_numpy(rows.cells).to(self.device, non_blocking=True)
        indices, numbers = there[:, : rows.first], there[:, rows.first : -4].view(torch.float32)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            found = self.module(indices, numbers)
        each = self.loss(found.float(), label.to(self.device, non_blocking=True), reduction="none")
        return (each * weight.to(self.device, non_blocking=True)).sum(), weight.sum()

    def over(self, plan: StreamPlan) -> float:
        """The mean loss over the rows of a plan, NaN where there are none."""
        self.module.eval()
        lost, weight = self._nothing(), torch.zeros(1, dtype=torch.float64)
        with torch.no_grad():
            for batch in self._reader(plan).batches(0):
                for _, part in self._parts(batch):
                    loss, of = self._lost(part)
                    lost += loss.double()
                    weight += of
        self.ranks.add([lost, weight])
        return float(lost) / float(weight) if weight > 0 else math.nan

    # --- checkpoints ---

    def _write(self, checkpoints: Checkpoints, more: dict[str, Any]) -> None:
        if self.ranks.rank:
            return
        state = {
            "epoch": self.epoch, "step": self.step, "total": [float(self.lost), self.weight], "keys": list(self.keys),
            "best": self.best if math.isfinite(self.best) else None, "since": self.since, "course": self.course,
        }  # fmt: skip
        checkpoints.write(self.step, Checkpoint(self._tensors(), state | more))

    def _tensors(self) -> dict[str, Tensor]:
        found = {f"network.{name}": t for name, t in self.module.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{name}": t for name, t in state.items() if t is not None}
        return found

    def _take_network(self, found: Checkpoint) -> None:
        network = {n.removeprefix("network."): t for n, t in found.tensors.items() if n.startswith("network.")}
        self.module.load_state_dict(network)

    def _take(self, found: Checkpoint) -> None:
        self._take_network(found)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in found.tensors.items():
            if name.startswith("optimizer."):
                _, number, what = name.split(".")
                moments.setdefault(int(number), {})[what] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        state = found.state
        self.epoch, self.step, self.since = state["epoch"], state["step"], state["since"]
        lost, self.weight = state["total"]
        self.lost = self._nothing() + lost
        self.keys = (state["keys"][0], state["keys"][1])
        self.best = math.inf if state["best"] is None else state["best"]
        self.course = [EpochMetrics(epoch, step, loss, held, (n, keys)) for epoch, step, loss, held, (n, keys) in state["course"]]
