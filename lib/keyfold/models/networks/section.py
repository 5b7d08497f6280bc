"""The networks as `train.model.torch.network` names them; each is built from what the features are. torch is imported only then."""

import importlib.util
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from keyfold.core.section import Section
from keyfold.errors import ConfError, suggestion
from keyfold.features.matrix import Layout

if TYPE_CHECKING:
    from torch import nn

Size = Annotated[int, Field(ge=1)]
EMBEDDING = Field(8, ge=1, description="numbers of each index's vector")
DROPOUT = Field(0.0, ge=0, lt=1)


class WideDeepConf(Section):
    """A linear model over all indices; beside it embeddings and numbers through dense layers."""

    embedding: int = EMBEDDING
    hidden: list[Size] = Field(default_factory=lambda: [64, 32])
    dropout: float = DROPOUT
    wide_rate: float = Field(
        1.0,
        gt=0,
        description="how many times as fast the linear model learns as the rest; weight_decay of adam is by its square less there",
    )

    def build(self, layout: Layout) -> "nn.Module":
        """With fresh parameters."""
        from keyfold.models.networks.wide_deep import WideDeep as Module

        return Module(layout, self.embedding, self.hidden, self.dropout, self.wide_rate)


class TwoTowerConf(Section):
    """Features of who asks and features of what is offered, each to a vector; the prediction is how near these are."""

    query: list[str] = Field(min_length=1, description="features of who asks")
    candidate: list[str] = Field(min_length=1, description="features of what is offered")
    embedding: int = EMBEDDING
    hidden: list[Size] = Field(default_factory=lambda: [32])
    size: int = Field(16, ge=1, description="numbers of both vectors")
    dropout: float = DROPOUT

    def build(self, layout: Layout) -> "nn.Module":
        """With fresh parameters."""
        from keyfold.models.networks.two_tower import TwoTower as Module

        there = {*layout.indices, *layout.numbers}
        for name in (*self.query, *self.candidate):
            if name not in there:
                raise ConfError(f"two_tower: there is no feature `{name}`{suggestion(name, there)}")
        if both := {*self.query} & {*self.candidate}:
            raise ConfError(f"two_tower: feature `{min(both)}` is in `query` and in `candidate`; leave it in one of both")
        if left := there - {*self.query, *self.candidate}:
            raise ConfError(f"two_tower: feature `{min(left)}` is in neither `query` nor `candidate`; name it, or leave it out")
        return Module(layout, self.query, self.candidate, self.embedding, self.hidden, self.size, self.dropout)


class TextConf(Section):
    """A text as embeddings through an LSTM."""

    feature: str = Field(description="of kind text, with a length")
    embedding: int = Field(64, ge=1)
    lstm: int = Field(64, ge=1, description="numbers of the text's vector")

    def build(self, layout: Layout) -> "tuple[str, nn.Module]":
        """The feature, and what makes a vector of it (ConfError for another kind of feature)."""
        from keyfold.models.networks.parts import Words

        at = layout.indices.get(self.feature)
        if at is None or at.stop - at.start < 2:
            raise ConfError(f"text.feature must be one of kind text with a length (got `{self.feature}`)")
        return self.feature, Words(layout.widths[self.feature], self.embedding, self.lstm)


class ImageConf(Section):
    """A picture through convolutions."""

    feature: str = Field(description="of kind image")
    net: Literal["small", "resnet50"] = Field("small", description="a few convolutions, or torchvision's ResNet-50")
    channels: list[Size] = Field(default_factory=lambda: [16, 32, 64], min_length=1, description="of the convolutions of `small`")

    def build(self, layout: Layout) -> "tuple[str, nn.Module]":
        """The feature, and what makes a vector of it (ConfError for another kind of feature)."""
        from keyfold.models.networks.parts import Picture, ResNet50

        shape = layout.shapes.get(self.feature)
        if shape is None or (self.net == "resnet50" and shape[2] != 3):
            what = "a picture in colours" if shape else "of kind image"
            raise ConfError(f"image.feature must be {what} (got `{self.feature}`)")
        if self.net == "resnet50" and not importlib.util.find_spec("torchvision"):
            raise ConfError("image.net: resnet50 needs the package torchvision: ./spark-submit.sh setup torch installs it")
        return self.feature, ResNet50(shape) if self.net == "resnet50" else Picture(shape, self.channels)


class JoinedConf(Section):
    """A text, a picture, or both, and beside them all other features as in wide_deep; through dense layers together."""

    text: TextConf | None = None
    image: ImageConf | None = None
    embedding: int = EMBEDDING
    hidden: list[Size] = Field(default_factory=lambda: [64])
    dropout: float = DROPOUT

    def build(self, layout: Layout) -> "nn.Module":
        """With fresh parameters."""
        from keyfold.models.networks.joined import Joined as Module

        text = self.text.build(layout) if self.text else None
        image = self.image.build(layout) if self.image else None
        return Module(layout, text, image, self.embedding, self.hidden, self.dropout)


class NetworkConf(Section):
    """Which network: one of {wide_deep: {…}}, {two_tower: {…}} and {joined: {…}}."""

    wide_deep: WideDeepConf | None = None
    two_tower: TwoTowerConf | None = None
    joined: JoinedConf | None = None

    @model_validator(mode="after")
    def _one(self) -> "NetworkConf":
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError("name one network: wide_deep, two_tower or joined")
        return self

    @property
    def chosen(self) -> WideDeepConf | TwoTowerConf | JoinedConf:
        """The one that is named."""
        return self.wide_deep or self.two_tower or self.joined  # type: ignore[return-value]

    @property
    def name(self) -> str:
        """Its name."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)
