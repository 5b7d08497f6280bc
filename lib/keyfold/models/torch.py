"""torch networks by name: trained by `keyfold.training.loop`, saved as safetensors and JSON, loaded without pickle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from keyfold.core.section import Section
from keyfold.errors import ConfError
from keyfold.features.matrix import Layout
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.models.blocks import block_size, predict_in_blocks
from keyfold.models.networks.section import NetworkConf

if TYPE_CHECKING:
    from torch import nn

STREAMS = 12


class Stage(Section):
    """Some epochs with a part of the network."""

    trains: Literal["output", "top", "all"] = Field(description="the last layer, the dense layers with it, or all")
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(gt=0)


class Start(Section):
    """Parameters to begin with: those of a registered network, or of a file of tensors by name (.safetensors, or torch's .pth)."""

    model: str | None = Field(None, examples=["flowers_base"], description="a name, for the champion, or name/version")
    file: str | None = Field(None, description="in place of a model")
    into: str = Field("", examples=["image.net"], description="the part of this network that the file's tensors are for")
    output: Literal["fresh", "same"] = Field(
        "fresh", description="the last layer: as it begins, for another label, or the model's"
    )

    @model_validator(mode="after")
    def _one(self) -> "Start":
        if (self.model is None) == (self.file is None):
            raise ValueError("name a model or a file")
        return self


class Loop(Section):
    """How a network is trained. Batches are those of all ranks together, so their number changes no result."""

    epochs: int = Field(1, ge=1)
    batch_size: int = Field(3072, ge=1, description="rows of all ranks together, at most")
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(0.001, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warm_up: float = Field(0.0, ge=0, lt=1, description="share of all steps over which the learning rate rises from 0")
    decay: Literal["cosine"] | None = Field(None, description="how the learning rate falls after that")
    clip: float | None = Field(None, gt=0, description="the largest norm of the gradient")
    patience: int | None = Field(None, ge=1, description="so many epochs without a better validation loss end the training")
    checkpoint_steps: int = Field(500, ge=1, description="steps between checkpoints; there is one after each epoch besides")
    accumulate: int = Field(
        1, ge=1, description="parts that a process takes its share of a batch in, one after another, where memory is short"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="a GPU where a process finds one, or what is named")
    mixed_precision: bool = Field(
        False, description="on a GPU bfloat16 where torch holds it to be safe; parameters and sums stay as they are"
    )
    stages: list[Stage] = Field(
        default_factory=list, description="in place of epochs and learning_rate: parts of the network, one stage after another"
    )

    @model_validator(mode="after")
    def _stages_alone(self) -> "Loop":
        for name in ("epochs", "learning_rate"):  # a model's conf is kept with all its defaults
            if self.stages and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`stages` have their own epochs and learning rates; leave `{name}` out")
        if self.stages and self.patience is not None:
            raise ValueError("`stages` are all gone through, and `patience` would end them early; leave it out")
        return self

    @property
    def all_stages(self) -> list[Stage]:
        """What is trained, and how long."""
        return self.stages or [Stage(trains="all", epochs=self.epochs, learning_rate=self.learning_rate)]

    @property
    def all_epochs(self) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs for stage in self.all_stages)


class Torch(Section):
    """A network by its name and parameters, and how it is trained."""

    network: NetworkConf
    loss: Literal["cross_entropy", "squared_error"] = Field("cross_entropy", description="of two classes, or of a number")
    loop: Loop = Loop()
    start: Start | None = Field(None, description="parameters of another training to begin with; default: random ones")

    @property
    def said(self) -> dict[str, Any]:
        """Its parameters, for MLflow."""
        return {
            "network": self.network.name,
            "loss": self.loss,
            **self.network.chosen.model_dump(),
            **self.loop.model_dump(),
        }

    @property
    def classifies(self) -> bool:
        """Whether it predicts a class."""
        return self.loss == "cross_entropy"

    def build(self, layout: Layout, seed: int) -> "nn.Module":
        """The network as it begins (ConfError where torch is not there)."""
        require_torch().manual_seed(seed)
        return self.network.chosen.build(layout)


def require_torch() -> Any:
    """The package torch (ConfError where it is not there)."""
    try:
        import torch
    except ImportError:
        raise ConfError("train.model.torch needs the package torch: ./spark-submit.sh setup torch installs it") from None
    return torch


class Network:
    """A trained network with the spec whose features it takes; the same face as an `Estimator`."""

    def __init__(self, module: "nn.Module", spec: Spec, conf: Torch) -> None:
        self.module, self.spec, self.conf = module.eval(), spec, conf
        self.layout = Layout.of(spec.outs)

    @property
    def packages(self) -> tuple[str, ...]:
        """What it needs where it answers."""
        joined = self.conf.network.joined
        pictures = joined is not None and joined.image is not None and joined.image.net == "resnet50"
        return ("torch", "safetensors", *(["torchvision"] if pictures else []))

    def probability(self, arrays: FeatureArrays) -> npt.NDArray[np.float64]:
        """Of the positive class, in [0, 1]."""
        return 1 / (1 + np.exp(-self.value(arrays)))  # type: ignore[no-any-return]

    def value(self, arrays: FeatureArrays) -> npt.NDArray[np.float64]:
        """What the network says of each row."""
        import torch

        rows = len(next(iter(arrays.values())))
        packed = self.layout.packed(arrays, rows)

        def answered(places: npt.NDArray[np.intp]) -> Any:
            with torch.inference_mode():  # copies, for the sums of a matrix also depend on where in memory it begins
                return self.module(*(torch.tensor(part[places]) for part in packed)).numpy()

        return predict_in_blocks(answered, rows, block_size(self.spec.outs.values()))

    def save(self, folder: Path) -> None:
        """Writes parameters and conf into a folder."""
        from safetensors.torch import save_file

        save_file(self.module.state_dict(), folder / "network.safetensors")
        (folder / "network.json").write_text(self.conf.model_dump_json(), "utf-8")

    @classmethod
    def load(cls, folder: Path, spec: Spec) -> "Network":
        """Reads what `save` wrote (ValueError where it is damaged)."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        conf = Torch.model_validate(json.loads((folder / "network.json").read_text("utf-8")))
        module = conf.build(Layout.of(spec.outs), 0)
        try:
            module.load_state_dict(load_file(folder / "network.safetensors"))
        except (SafetensorError, RuntimeError) as error:  # of torch, where other tensors are there
            raise ValueError(str(error)) from error
        return cls(module, spec, conf)


def rows_per_stream(batch_size: int) -> int:
    """Rows of each stream in a global batch (ConfError where they would not be as many)."""
    if batch_size % STREAMS:
        low = batch_size // STREAMS * STREAMS
        near = " or ".join(str(n) for n in (low, low + STREAMS) if n)
        raise ConfError(
            f"train.model.torch.loop.batch_size must be a multiple of {STREAMS}, the number of streams (got {batch_size}); take {near}"
        )
    return batch_size // STREAMS
