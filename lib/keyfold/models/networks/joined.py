"""A text, an image and all other features, each as a vector, joined by dense layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Noise
from keyfold.models.networks.parts import Vectors, dense_layers


class Joined(nn.Module):
    """Maps int32 (rows, indices) and float32 (rows, numbers) to float32 (rows,), or to (rows, units) of several units.

    `text` and `image`: a feature and the module that maps it to a vector.
    """

    def __init__(
        self, layout: Layout, text: tuple[str, nn.Module] | None, image: tuple[str, nn.Module] | None, embedding: int,
        hidden: Sequence[int], dropout: float, units: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.noise = Noise()
        self.text, self.image = text and text[1], image and image[1]
        self.tokens = layout.indices[text[0]] if text else slice(0)
        self.pixels = layout.numbers[image[0]] if image else slice(0)
        rest = layout.only({*layout.indices, *layout.numbers} - {pair[0] for pair in (text, image) if pair})
        self.vectors = Vectors(rest, embedding) if rest.indices or rest.numbers else None
        parts = [part for part in (self.text, self.image, self.vectors) if part is not None]
        self.dense, size = dense_layers(sum(int(part.size) for part in parts), hidden, dropout, self.noise)  # type: ignore[arg-type]
        self.output = nn.Linear(size, units)

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 (rows,) or (rows, units)."""
        vectors = []
        if self.text is not None:
            vectors.append(self.text(indices[:, self.tokens]))
        if self.image is not None:
            vectors.append(self.image(numbers[:, self.pixels]))
        if self.vectors is not None:
            vectors.append(self.vectors(indices, numbers))
        return self.output(self.dense(torch.cat(vectors, 1))).squeeze(1)  # type: ignore[no-any-return]
