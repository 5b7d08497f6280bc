"""A text, a picture and all other features, each as a vector, joined by dense layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Noise
from keyfold.models.networks.parts import Vectors, dense_layers


class Joined(nn.Module):
    """int32 (rows, indices) and float32 (rows, numbers) to one float32 a row.

    `text` and `image`: the feature, and what makes a vector of it; `rest`: the layout of what goes in as it is.
    """

    def __init__(
        self, layout: Layout, text: tuple[str, nn.Module] | None, image: tuple[str, nn.Module] | None, embedding: int,
        hidden: Sequence[int], dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.noise = Noise()
        self.text, self.image = text and text[1], image and image[1]
        self.tokens = layout.indices[text[0]] if text else slice(0)
        self.pixels = layout.numbers[image[0]] if image else slice(0)
        apart = {pair[0] for pair in (text, image) if pair}
        rest = layout.only({*layout.indices, *layout.numbers} - apart)
        self.vectors = Vectors(rest, embedding) if rest.indices or rest.numbers else None
        parts = [part for part in (self.text, self.image, self.vectors) if part is not None]
        self.dense, size = dense_layers(sum(int(part.size) for part in parts), hidden, dropout, self.noise)  # type: ignore[arg-type]
        self.output = nn.Linear(size, 1)

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 of the rows."""
        found = []
        if self.text is not None:
            found.append(self.text(indices[:, self.tokens]))
        if self.image is not None:
            found.append(self.image(numbers[:, self.pixels]))
        if self.vectors is not None:
            found.append(self.vectors(indices, numbers))
        return self.output(self.dense(torch.cat(found, 1))).squeeze(1)  # type: ignore[no-any-return]
