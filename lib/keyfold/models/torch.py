"""torch networks by name: trained by `keyfold.training.loop`, saved as safetensors and JSON, loaded without pickle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from keyfold.errors import ConfError
from keyfold.matrix import Layout
from keyfold.section import Section
from keyfold.spec import Arrays, Spec

if TYPE_CHECKING:
    from torch import nn

AT_ONCE = 16_384  # rows that a network answers together


class WideDeep(Section):
    """A linear model over all indices; beside it embeddings and numbers through dense layers."""

    embedding: int = Field(8, ge=1, description="numbers of each index's vector")
    hidden: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [64, 32])
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, layout: Layout) -> "nn.Module":
        """With fresh parameters."""
        from keyfold.networks.wide_deep import WideDeep as Module

        return Module(layout, self.embedding, self.hidden, self.dropout)


class Networks(Section):
    """Which network: {wide_deep: {…}}."""

    wide_deep: WideDeep


class Loop(Section):
    """How a network is trained. Batches are those of all ranks together, so their number changes no result."""

    epochs: int = Field(1, ge=1)
    batch_size: int = Field(3072, ge=1, description="rows of all ranks together")
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(0.001, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warm_up: float = Field(0.0, ge=0, lt=1, description="share of all steps over which the learning rate rises from 0")
    decay: Literal["cosine"] | None = Field(None, description="how the learning rate falls after that")
    clip: float | None = Field(None, gt=0, description="the largest norm of the gradient")
    patience: int | None = Field(None, ge=1, description="so many epochs without a better validation loss end the training")
    checkpoint_steps: int = Field(500, ge=1, description="steps between checkpoints; there is one after each epoch besides")


class Torch(Section):
    """A network by its name and parameters, and how it is trained."""

    network: Networks
    loss: Literal["cross_entropy", "squared_error"] = Field("cross_entropy", description="of two classes, or of a number")
    loop: Loop = Loop()

    @property
    def said(self) -> dict[str, Any]:
        """Its parameters, for MLflow."""
        return {
            "network": next(iter(self.network.model_dump(exclude_none=True))),
            **self.network.wide_deep.model_dump(),
            **self.loop.model_dump(),
        }

    @property
    def classifies(self) -> bool:
        """Whether it predicts a class."""
        return self.loss == "cross_entropy"

    def build(self, layout: Layout, seed: int) -> "nn.Module":
        """The network as it begins (ConfError where torch is not there)."""
        torch_or_sentence().manual_seed(seed)
        return self.network.wide_deep.build(layout)


def torch_or_sentence() -> Any:
    """The package torch (ConfError where it is not there)."""
    try:
        import torch
    except ImportError:
        raise ConfError("train.model.torch needs the package torch: ./spark-submit.sh setup torch installs it") from None
    return torch


class Network:
    """A trained network with the spec whose features it takes; the same face as an `Estimator`."""

    packages = ("torch", "safetensors")

    def __init__(self, module: "nn.Module", spec: Spec, conf: Torch) -> None:
        self.module, self.spec, self.conf = module.eval(), spec, conf
        self.layout = Layout.of(spec.outs)

    def probability(self, arrays: Arrays) -> npt.NDArray[np.float64]:
        """Of the positive class, in [0, 1]."""
        return 1 / (1 + np.exp(-self.value(arrays)))  # type: ignore[no-any-return]

    def value(self, arrays: Arrays) -> npt.NDArray[np.float64]:
        """What the network says of each row."""
        import torch

        indices, numbers = self.layout.packed(arrays, len(next(iter(arrays.values()))))
        parts = range(0, max(1, len(indices)), AT_ONCE)
        with torch.inference_mode():
            found = [
                self.module(torch.from_numpy(indices[i : i + AT_ONCE]), torch.from_numpy(numbers[i : i + AT_ONCE])) for i in parts
            ]
        return np.concatenate([part.numpy() for part in found]).astype(np.float64)

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
