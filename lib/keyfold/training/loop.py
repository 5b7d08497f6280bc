"""The training loop: mini-batch gradient descent over the global batches of all ranks, resumable at any step.

The gradient is that of the weighted loss divided by the weight of the global batch, so padding has no effect and neither has the number
of ranks. All randomness follows from the seed, the step and the stream. Requires the package torch.
"""

import math
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from keyfold.errors import DataError
from keyfold.models.heads import Head
from keyfold.training.checkpoints import Checkpoint, Checkpoints, read_checkpoint
from keyfold.training.collectives import SingleProcess
from keyfold.training.losses import row_losses
from keyfold.training.streams import Cells, Reader, StreamBatch, StreamPlan

if TYPE_CHECKING:
    from keyfold.models.torch import Loop

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


# The parameters that a stage trains, by a part of their name; an empty set: all.
STAGE_PARTS: dict[str, set[str]] = {"output": {"output"}, "top": {"output", "dense"}, "all": set()}


class TrainingData(NamedTuple):
    """The plans of both folds, the weight of each class in the order of codes (empty: all are 1), and the last layer of the network."""

    train: StreamPlan
    validation: StreamPlan
    weights: tuple[float, ...] = ()
    head: Head = Head()


class EpochMetrics(NamedTuple):
    """Mean losses of an epoch; `keys`: rows trained on so far, and the sum of the hashes of their keys modulo 2^64."""

    epoch: int
    step: int
    loss: float
    validation: float
    keys: tuple[int, int]


class Training:
    """A network, its optimizer, and the position in the data."""

    def __init__(self, module: nn.Module, conf: "Loop", data: TrainingData, ranks: SingleProcess) -> None:
        self.module, self.conf, self.data, self.ranks = module, conf, data, ranks
        self.parameters = list(module.parameters())
        self.device = self.parameters[0].device
        self.mixed = conf.mixed_precision and self.device.type == "cuda"
        self.optimizer = _OPTIMIZERS[conf.optimizer](self.parameters, lr=conf.learning_rate, weight_decay=conf.weight_decay)
        self.epoch = self.step = 0  # of the next batch; steps are counted over all epochs
        # Of this epoch so far. The loss stays on its device, so that no step waits for a GPU.
        self.loss_sum, self.weight_sum = self._zero(), 0.0
        self.keys = (0, 0)  # of all ranks
        self.best_loss, self.epochs_since_best = math.inf, 0
        self._readers: dict[int, Reader] = {}
        self.history: list[EpochMetrics] = []  # of all epochs, including those before a checkpoint

    # --- the whole training ---

    def run(self, checkpoints: Checkpoints, report: Callable[[EpochMetrics], None]) -> None:
        """Trains until the last epoch or until patience runs out, then restores the parameters of the best epoch."""
        self._start(checkpoints.last)
        try:
            while self.epoch < self.conf.all_epochs and not self._out_of_patience:
                self._begin_stage()
                for batch in self._steps():
                    self._descend(batch)
                    if self.step % self.conf.checkpoint_steps == 0 and self.step % self.data.train.steps:
                        self._write(checkpoints, {})
                self._end_epoch(checkpoints, report)
        finally:
            checkpoints.wait()
        if self.ranks.rank == 0 and (best := checkpoints.best):
            self._restore_network(read_checkpoint(best))
        self._broadcast_network()

    def memorize(self, batch: StreamBatch, steps: int, target: float) -> list[float]:
        """Trains on one batch alone; the loss after each step, until it is at most `target` or all steps are done."""
        self._begin_stage()
        losses: list[float] = []
        while len(losses) < steps and not (losses and losses[-1] <= target):
            self.loss_sum, self.weight_sum = self._zero(), 0.0
            self._descend(batch)
            losses.append(float(self.loss_sum) / self.weight_sum)
        return losses

    @property
    def _out_of_patience(self) -> bool:
        return self.conf.patience is not None and self.epochs_since_best >= self.conf.patience

    def _start(self, checkpoint: Path | None) -> None:
        """All ranks read the same checkpoint, or start with the parameters of rank 0."""
        if checkpoint is not None:
            self._restore(read_checkpoint(checkpoint))
        step = torch.tensor([self.step])
        self.ranks.broadcast([step])
        if int(step) != self.step:  # a shared folder may show new files late
            raise RuntimeError(
                f"rank {self.ranks.rank} sees the checkpoint of step {self.step}, and rank 0 that of step {int(step)}"
            )
        if checkpoint is None:
            self._broadcast_network()

    def _broadcast_network(self) -> None:
        """Copies parameters and buffers of rank 0 to all ranks."""
        self.ranks.broadcast(list(self.module.state_dict().values()))

    def _begin_stage(self) -> None:
        """Lets only those parameters change that the stage of this epoch trains."""
        ends = accumulate(stage.epochs for stage in self.conf.all_stages)
        end, stage = next(pair for pair in zip(ends, self.conf.all_stages, strict=True) if self.epoch < pair[0])
        self.learning_rate, self.stage_end = stage.learning_rate, end * self.data.train.steps
        self.stage_start = self.stage_end - stage.epochs * self.data.train.steps
        parts = STAGE_PARTS[stage.trains]
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(not parts or bool(parts & set(name.split("."))))
            if not parameter.requires_grad:
                parameter.grad = None  # an optimizer moves every parameter that has a gradient, even a gradient of 0
        self.trained = [p for p in self.parameters if p.requires_grad]

    def _steps(self) -> Iterator[StreamBatch]:
        return self._reader(self.data.train).batches(self.epoch, self.step % self.data.train.steps)

    def _reader(self, plan: StreamPlan) -> Reader:
        if id(plan) not in self._readers:
            self._readers[id(plan)] = Reader(plan, self.ranks.rank, self.ranks.size)
        return self._readers[id(plan)]

    def _end_epoch(self, checkpoints: Checkpoints, report: Callable[[EpochMetrics], None]) -> None:
        validation = self.mean_loss(self.data.validation)
        loss = float(self.loss_sum) / self.weight_sum
        validates = self.data.validation.rows > 0
        if not math.isfinite(loss) or (validates and not math.isfinite(validation)):
            raise DataError(
                f"train: the loss is {loss} after epoch {self.epoch + 1}, and {validation} in validation; "
                "lower learning_rate in train.model.torch.loop, or set clip"
            )
        if validates:
            self.epochs_since_best = 0 if validation < self.best_loss else self.epochs_since_best + 1
            self.best_loss = min(validation, self.best_loss)
        self.history.append(EpochMetrics(self.epoch, self.step, loss, validation, self.keys))
        report(self.history[-1])
        self.epoch += 1
        self.loss_sum, self.weight_sum = self._zero(), 0.0
        self._write(checkpoints, {"validation": validation} if validates else {})

    # --- a step ---

    def _descend(self, batch: StreamBatch) -> None:
        """One step of the optimizer on the global batch of which `batch` is this rank's part."""
        self.module.train()
        count, keys = batch.keys
        # The sum of hashes goes as two 32-bit halves, whose sums over ranks a double holds exactly.
        sums = torch.tensor([0.0, count, keys & 0xFFFFFFFF, keys >> 32], dtype=torch.float64)
        loss_sum = self._backward(batch, sums)
        for p in self.trained:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        gradients = [p.grad for p in self.trained if p.grad is not None]
        self.ranks.add([*gradients, loss_sum, sums])
        weight, count, low, high = sums.tolist()
        self.loss_sum += loss_sum
        self.weight_sum += weight
        self.keys = (self.keys[0] + int(count), (self.keys[1] + int(low) + (int(high) << 32)) % 2**64)
        self.step += 1
        if weight > 0:
            self._update(gradients, weight)
        self.optimizer.zero_grad(set_to_none=False)

    def _backward(self, batch: StreamBatch, sums: Tensor) -> Tensor:
        """Adds up gradients over the parts of a batch, and their weight in sums[0]; the summed loss."""
        loss_sum = self._zero()
        for streams, part in self._parts(batch):
            if noise := getattr(self.module, "noise", None):
                noise.at(self.data.train.seed, self.step, streams)
            loss, weight = self._weighted_loss(part)
            loss.backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.detach().double()
            sums[0] += weight
        return loss_sum

    def _parts(self, batch: StreamBatch) -> Iterator[tuple[range, Cells]]:
        """The batch in `accumulate` parts: the streams of each, and their rows."""
        streams = self.data.train.owned(self.ranks.rank, self.ranks.size)
        each, rows = len(streams) // self.conf.accumulate, len(batch.rows.cells) // len(streams)
        for i in range(0, len(streams), each):
            yield streams[i : i + each], batch.rows.part(i * rows, (i + each) * rows)

    def _update(self, gradients: list[Tensor], weight: float) -> None:
        for gradient in gradients:
            gradient.div_(weight)
        if self.conf.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.conf.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self._rate_factor()
        self.optimizer.step()

    def _rate_factor(self) -> float:
        """Factor of the stage's learning rate: rises from 0 to 1 over the warm-up, then stays or decays as a cosine."""
        steps, step = self.stage_end - self.stage_start, self.step - self.stage_start
        warm_up = self.conf.warm_up * steps
        if step < warm_up:
            return step / warm_up
        progress = (step - warm_up) / max(1.0, steps - warm_up)
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress)) if self.conf.decay == "cosine" else 1.0

    def _zero(self) -> Tensor:
        return torch.zeros(1, dtype=torch.float64, device=self.device)

    def _weighted_loss(self, rows: Cells) -> tuple[Tensor, Tensor]:
        """The sum of the rows' weighted losses, and that of their weights."""
        weight = torch.from_numpy(rows.weighted_by(self.data.weights))
        cells = torch.from_numpy(rows.cells).to(self.device, non_blocking=True)
        indices, numbers = cells[:, : rows.first], cells[:, rows.first : rows.features.shape[1]].view(torch.float32)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            output = self.module(indices, numbers)
        losses = row_losses(self.data.head, output.float(), rows)
        return (losses * weight.to(self.device, non_blocking=True)).sum(), weight.sum()

    def mean_loss(self, plan: StreamPlan) -> float:
        """The weighted mean loss over the rows of a plan, NaN if it has none."""
        self.module.eval()
        loss_sum, weight_sum = self._zero(), torch.zeros(1, dtype=torch.float64)
        with torch.no_grad():
            for batch in self._reader(plan).batches(0):
                for _, part in self._parts(batch):
                    loss, weight = self._weighted_loss(part)
                    loss_sum += loss.double()
                    weight_sum += weight
        self.ranks.add([loss_sum, weight_sum])
        return float(loss_sum) / float(weight_sum) if weight_sum > 0 else math.nan

    # --- checkpoints ---

    def _write(self, checkpoints: Checkpoints, measured: dict[str, float]) -> None:
        if self.ranks.rank:
            return
        state = {
            "epoch": self.epoch, "step": self.step, "total": [float(self.loss_sum), self.weight_sum], "keys": list(self.keys),
            "best": self.best_loss if math.isfinite(self.best_loss) else None, "since": self.epochs_since_best,
            "course": self.history,
        }  # fmt: skip
        checkpoints.write(self.step, Checkpoint(self._tensors(), state | measured))

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{name}": t for name, t in self.module.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": t for name, t in state.items() if t is not None}
        return tensors

    def _restore_network(self, checkpoint: Checkpoint) -> None:
        network = {n.removeprefix("network."): t for n, t in checkpoint.tensors.items() if n.startswith("network.")}
        self.module.load_state_dict(network)

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._restore_network(checkpoint)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.tensors.items():
            if name.startswith("optimizer."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        state = checkpoint.state
        self.epoch, self.step, self.epochs_since_best = state["epoch"], state["step"], state["since"]
        loss_sum, self.weight_sum = state["total"]
        self.loss_sum = self._zero() + loss_sum
        self.keys = (state["keys"][0], state["keys"][1])
        self.best_loss = math.inf if state["best"] is None else state["best"]
        self.history = [
            EpochMetrics(epoch, step, loss, validation, (rows, keys))
            for epoch, step, loss, validation, (rows, keys) in state["course"]
        ]
