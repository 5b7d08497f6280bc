"""Wide and deep: a linear model over all indices, and beside it embeddings and numbers through dense layers (Cheng et al., 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keyfold.matrix import Layout
from keyfold.networks.noise import Dropout, Noise


class WideDeep(nn.Module):
    """int32 (rows, indices) and float32 (rows, numbers) to one float32 a row."""

    def __init__(self, layout: Layout, embedding: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.places, self.noise = list(layout.indices.values()), Noise()
        numbers = max((s.stop for s in layout.numbers.values()), default=0)
        # One table for all features: a feature's rows begin where those of the features before it end.
        offsets, begin = [], 0
        for name, columns in layout.indices.items():
            offsets += [begin] * (columns.stop - columns.start)
            begin += layout.widths[name]
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        self.wide = nn.EmbeddingBag(max(1, begin), 1, mode="sum")
        nn.init.zeros_(self.wide.weight)
        self.linear = nn.Linear(numbers, 1, bias=False) if numbers else None
        self.embeddings = nn.Embedding(max(1, begin), embedding)
        nn.init.normal_(self.embeddings.weight, std=embedding**-0.5 / 10)
        layers: list[nn.Module] = []
        width = len(self.places) * embedding + numbers
        for number, size in enumerate(hidden):
            layers += [nn.Linear(width, size), nn.ReLU(), Dropout(dropout, number, self.noise)]
            width = size
        self.deep = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 of the rows."""
        at = indices + self.offsets
        found = self.embeddings(at)
        # A list of indices has the mean of its vectors.
        each = [found[:, s.start] if s.stop - s.start == 1 else found[:, s].mean(1) for s in self.places]
        said = self.deep(torch.cat([*each, numbers], 1))
        if self.places:
            said = said + self.wide(at)
        if self.linear is not None:
            said = said + self.linear(numbers)
        return said.squeeze(1)
