"""torch networks by name: trained by `keyfold.training.loop`, saved as safetensors and JSON, loaded without pickle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from keyfold.core.packages import require_package
from keyfold.core.section import OneOf, Section
from keyfold.errors import ConfError
from keyfold.features.matrix import Layout
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Label
from keyfold.models.blocks import block_size, predict_in_blocks
from keyfold.models.heads import Head
from keyfold.models.networks.section import NetworkConf
from keyfold.models.prior import Corrected

if TYPE_CHECKING:
    from torch import nn

STREAMS = 12  # streams of training rows, shared evenly by the ranks


class Stage(Section):
    """A stage of training: some epochs for a part of the network."""

    trains: Literal["output", "top", "all"] = Field(description="The last layer, all dense layers, or all layers.")
    epochs: int = Field(1, ge=1, description="Number of epochs.")
    learning_rate: float = Field(gt=0, description="Learning rate.", examples=[0.001])


class Start(OneOf):
    """Initial parameters: those of a registered network, or of a file of named tensors (.safetensors, or torch's .pth)."""

    _choices = ("model", "file")

    model: str | None = Field(
        None, examples=["flowers_base", "flowers_base/2"], description="A registered network: its champion, or a version."
    )
    file: str | None = Field(None, examples=["resnet50.pth"], description="A file of tensors.")
    into: str = Field(
        "", examples=["image.net"], description="Part of this network that the file's tensors belong to. Empty: all."
    )
    output: Literal["fresh", "same"] = Field(
        "fresh", description="Parameters of the last layer. fresh: random ones, for another label; same: those of the start."
    )


class Loop(Section):
    """Training of a network. A batch is shared by all ranks, so their number does not change the result."""

    epochs: int = Field(1, ge=1, description="Number of epochs.")
    batch_size: int = Field(3072, ge=1, description="Rows of a batch, of all ranks together; a multiple of 12.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="Optimizer.")
    learning_rate: float = Field(0.001, gt=0, description="Learning rate.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of the optimizer.")
    warm_up: float = Field(0.0, ge=0, lt=1, description="Share of all steps over which the learning rate rises from 0.")
    decay: Literal["cosine"] | None = Field(None, description="Schedule of the learning rate after that. Default: constant.")
    clip: float | None = Field(None, gt=0, description="Largest norm of the gradient. Default: unlimited.")
    patience: int | None = Field(
        None, ge=1, description="Number of epochs without a better validation loss after which training ends. Default: unlimited."
    )
    checkpoint_steps: int = Field(500, ge=1, description="Steps between checkpoints; there is also one after each epoch.")
    accumulate: int = Field(
        1, ge=1, description="Number of parts in which each rank processes its share of a batch; more parts need less memory."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device of the ranks. auto: a GPU if there is one.")
    mixed_precision: bool = Field(
        False, description="Whether a GPU computes in bfloat16 where torch considers it safe; parameters and sums stay float32."
    )
    stages: list[Stage] = Field(
        default_factory=list,
        examples=[[{"trains": "output", "learning_rate": 0.01}, {"trains": "all", "learning_rate": 0.001}]],
        description="Stages that train parts of the network in turn, instead of epochs and learning_rate.",
    )

    @model_validator(mode="after")
    def _stages_alone(self) -> "Loop":
        for name in ("epochs", "learning_rate"):  # saved confs include defaults
            if self.stages and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`stages` have their own epochs and learning rates; leave `{name}` out")
        if self.stages and self.patience is not None:
            raise ValueError("all `stages` are trained, and `patience` would end them early; leave it out")
        return self

    @property
    def all_stages(self) -> list[Stage]:
        """The stages; without `stages`, one stage that trains all layers."""
        return self.stages or [Stage(trains="all", epochs=self.epochs, learning_rate=self.learning_rate)]

    @property
    def all_epochs(self) -> int:
        """Number of epochs of all stages."""
        return sum(stage.epochs for stage in self.all_stages)


class Torch(Section):
    """A network and its training."""

    network: NetworkConf = Field(description="Architecture of the network.")
    loss: Literal["cross_entropy", "squared_error"] = Field(
        "cross_entropy", description="Loss: cross-entropy of classes, bands or several labels, or squared error of a number."
    )
    loop: Loop = Field(Loop(), description="Epochs, batches, optimizer and device.")
    start: Start | None = Field(None, description="Initial parameters from another training. Default: random ones.")

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters for MLflow."""
        network = {"network": self.network.choice, "loss": self.loss}
        return network | self.network.chosen.model_dump() | self.loop.model_dump()

    @property
    def classifies(self) -> bool:
        """Whether the model predicts a class."""
        return self.loss == "cross_entropy"

    def build(self, layout: Layout, seed: int, units: int = 1) -> "nn.Module":
        """The network with random parameters, whose last layer has some units.

        Raises ConfError if torch is missing, or if a feature or the number of units does not fit.
        """
        require_torch().manual_seed(seed)
        self.network.check_units(units)
        return self.network.chosen.build(layout, units)


def require_torch() -> Any:
    """The package torch; raises ConfError if it is not installed."""
    require_package("train.model.torch", "torch", "torch installs it")
    import torch

    return torch


class Network(Corrected):
    """A trained network with the spec of its features; has the interface of `Estimator`."""

    def __init__(self, module: "nn.Module", spec: Spec, conf: Torch) -> None:
        self.module, self.spec, self.conf = module.eval(), spec, conf
        self.layout = Layout.of(spec.outs)

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing: the files of the network say all."""
        return {}

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that scoring needs besides those of keyfold."""
        joined = self.conf.network.joined
        resnet = joined is not None and joined.image is not None and joined.image.net == "resnet50"
        return ("torch", "safetensors", *(["torchvision"] if resnet else []))

    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> npt.NDArray[np.float64]:
        """Predicted numbers, or probabilities of the positive class (n), or of all classes, bands or labels (n, k)."""
        return Head.of(label).numbers(label, self.value(arrays))

    def value(self, arrays: FeatureArrays) -> npt.NDArray[np.float64]:
        """Outputs of the network for n rows: numbers, or log-odds of the positive class (n), or a score for each of k units (n, k)."""
        import torch

        rows = len(next(iter(arrays.values())))
        packed = self.layout.packed(arrays, rows)

        def predict(places: npt.NDArray[np.intp]) -> Any:
            with torch.inference_mode():  # torch.tensor copies: sums also depend on the alignment of memory
                return self.module(*(torch.tensor(part[places]) for part in packed)).numpy()

        return predict_in_blocks(predict, rows, block_size(self.spec.outs.values()))

    def save(self, folder: Path) -> None:
        """Writes parameters and conf into a folder."""
        from safetensors.torch import save_file

        save_file(self.module.state_dict(), folder / "network.safetensors")
        (folder / "network.json").write_text(self.conf.model_dump_json(), "utf-8")

    @classmethod
    def load(cls, folder: Path, spec: Spec) -> "Network":
        """Reads a saved network; raises ValueError if it is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        conf = Torch.model_validate(json.loads((folder / "network.json").read_text("utf-8")))
        try:
            tensors = load_file(folder / "network.safetensors")
            module = conf.build(Layout.of(spec.outs), 0, len(tensors["output.bias"]))
            module.load_state_dict(tensors)
        except (SafetensorError, RuntimeError) as error:  # RuntimeError: the tensors are not those of the network
            raise ValueError(str(error)) from error
        return cls(module, spec, conf)


def rows_per_stream(batch_size: int) -> int:
    """Rows of each stream in a batch; raises ConfError unless the streams have equally many."""
    if batch_size % STREAMS:
        low = batch_size // STREAMS * STREAMS
        near = " or ".join(str(n) for n in (low, low + STREAMS) if n)
        raise ConfError(
            f"train.model.torch.loop.batch_size must be a multiple of {STREAMS}, the number of streams (got {batch_size}); use {near}"
        )
    return batch_size // STREAMS
