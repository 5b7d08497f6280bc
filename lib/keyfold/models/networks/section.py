"""The section `train.model.torch.network`. Networks are built from the layout of the features; torch is imported only then."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from keyfold.core.packages import require_package
from keyfold.core.section import OneOf, Section
from keyfold.errors import ConfError, suggestion
from keyfold.features.matrix import Layout

if TYPE_CHECKING:
    from torch import nn

Size = Annotated[int, Field(ge=1)]
EMBEDDING = Field(8, ge=1, description="Size of each index's embedding.")
DROPOUT = Field(0.0, ge=0, lt=1, description="Share of the outputs of each dense layer that dropout sets to 0 in training.")
HIDDEN = "Sizes of the dense layers."


class WideDeepConf(Section):
    """A linear model of all indices and numbers, plus dense layers over their embeddings."""

    embedding: int = EMBEDDING
    hidden: list[Size] = Field(default_factory=lambda: [64, 32], description=HIDDEN)
    dropout: float = DROPOUT
    wide_rate: float = Field(
        1.0,
        gt=0,
        description="Learning rate of the linear model, relative to the rest. Adam's weight decay is divided by its square there.",
    )

    def build(self, layout: Layout, units: int) -> "nn.Module":
        """The network with random parameters."""
        from keyfold.models.networks.wide_deep import WideDeep as Module

        return Module(layout, self.embedding, self.hidden, self.dropout, self.wide_rate, units)


class TwoTowerConf(Section):
    """Features of the query and of the candidate, each mapped to a vector; the prediction is the similarity of both."""

    query: list[str] = Field(min_length=1, description="Features of the query, such as the user.", examples=[["user"]])
    candidate: list[str] = Field(
        min_length=1, description="Features of the candidate, such as the item.", examples=[["item", "price"]]
    )
    embedding: int = EMBEDDING
    hidden: list[Size] = Field(default_factory=lambda: [32], description=HIDDEN)
    size: int = Field(16, ge=1, description="Size of both vectors.")
    dropout: float = DROPOUT

    def build(self, layout: Layout, _units: int) -> "nn.Module":
        """The network with random parameters; raises ConfError unless each feature is in one tower."""
        from keyfold.models.networks.two_tower import TwoTower as Module

        features = {*layout.indices, *layout.numbers}
        for name in (*self.query, *self.candidate):
            if name not in features:
                raise ConfError(f"two_tower: there is no feature `{name}`{suggestion(name, features)}")
        if both := {*self.query} & {*self.candidate}:
            raise ConfError(f"two_tower: feature `{min(both)}` is in `query` and in `candidate`; remove it from one of them")
        if rest := features - {*self.query, *self.candidate}:
            raise ConfError(
                f"two_tower: feature `{min(rest)}` is in neither `query` nor `candidate`; add it to one of them, or remove the feature"
            )
        return Module(layout, self.query, self.candidate, self.embedding, self.hidden, self.size, self.dropout)


class TextConf(Section):
    """A text as embeddings through an LSTM."""

    feature: str = Field(description="A feature of kind text with a length.", examples=["review"])
    embedding: int = Field(64, ge=1, description="Size of each token's embedding.")
    lstm: int = Field(64, ge=1, description="Size of the text's vector.")

    def build(self, layout: Layout) -> "tuple[str, nn.Module]":
        """The feature and the module that maps it to a vector; raises ConfError for another kind of feature."""
        from keyfold.models.networks.parts import Words

        columns = layout.indices.get(self.feature)
        if columns is None or columns.stop - columns.start < 2:
            raise ConfError(f"text.feature must be one of kind text with a length (got `{self.feature}`)")
        return self.feature, Words(layout.widths[self.feature], self.embedding, self.lstm)


class ImageConf(Section):
    """An image through convolutions."""

    feature: str = Field(description="A feature of kind image.", examples=["photo"])
    net: Literal["small", "resnet50"] = Field("small", description="A few convolutions, or ResNet-50 of torchvision.")
    channels: list[Size] = Field(
        default_factory=lambda: [16, 32, 64], min_length=1, description="Channels of the convolutions of `small`."
    )

    def build(self, layout: Layout) -> "tuple[str, nn.Module]":
        """The feature and the module that maps it to a vector; raises ConfError for another kind of feature."""
        from keyfold.models.networks.parts import Picture, ResNet50

        shape = layout.shapes.get(self.feature)
        if shape is None or (self.net == "resnet50" and shape[2] != 3):
            required = "a colour image" if shape else "of kind image"
            raise ConfError(f"image.feature must be {required} (got `{self.feature}`)")
        if self.net == "resnet50":
            require_package("image.net: resnet50", "torchvision", "torch installs it")
        return self.feature, ResNet50(shape) if self.net == "resnet50" else Picture(shape, self.channels)


class JoinedConf(Section):
    """A text, an image, or both, joined with all other features by dense layers."""

    text: TextConf | None = Field(None, description="The text feature and its LSTM. Default: none.")
    image: ImageConf | None = Field(None, description="The image feature and its convolutions. Default: none.")
    embedding: int = EMBEDDING
    hidden: list[Size] = Field(default_factory=lambda: [64], description=HIDDEN)
    dropout: float = DROPOUT

    def build(self, layout: Layout, units: int) -> "nn.Module":
        """The network with random parameters."""
        from keyfold.models.networks.joined import Joined as Module

        text = self.text.build(layout) if self.text else None
        image = self.image.build(layout) if self.image else None
        return Module(layout, text, image, self.embedding, self.hidden, self.dropout, units)


class NetworkConf(OneOf):
    """The architecture: {wide_deep: {…}}, {two_tower: {…}} or {joined: {…}}."""

    wide_deep: WideDeepConf | None = Field(None, description="A linear model plus dense layers over embeddings.")
    two_tower: TwoTowerConf | None = Field(None, description="Two towers, whose vectors are compared.")
    joined: JoinedConf | None = Field(None, description="A text, an image and other features, joined by dense layers.")

    @property
    def chosen(self) -> WideDeepConf | TwoTowerConf | JoinedConf:
        """The section of the chosen architecture."""
        return getattr(self, self.choice)  # type: ignore[no-any-return]

    def check_units(self, units: int) -> None:
        """Raises ConfError unless the network can give so many numbers for a row."""
        if self.two_tower and units > 1:
            raise ConfError(
                f"train.model.torch.network.two_tower predicts one number, the similarity, and this label needs {units}, one for each "
                "class, band or label; take wide_deep or joined"
            )
