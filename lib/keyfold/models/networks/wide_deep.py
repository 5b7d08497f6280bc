"""Wide and deep: a linear model over all indices, and beside it embeddings and numbers through dense layers (Cheng et al., 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Noise
from keyfold.models.networks.parts import Vectors, dense_layers


class WideDeep(nn.Module):
    """int32 (rows, indices) and float32 (rows, numbers) to one float32 a row.

    The linear model's weights are kept `wide_rate` times too small: adam moves all parameters alike, and so that one faster.
    """

    def __init__(self, layout: Layout, embedding: int, hidden: Sequence[int], dropout: float, wide_rate: float) -> None:
        super().__init__()
        self.noise, self.wide_rate = Noise(), wide_rate
        self.vectors = Vectors(layout, embedding)
        self.wide = nn.EmbeddingBag(self.vectors.table.num_embeddings, 1, mode="sum")
        nn.init.zeros_(self.wide.weight)
        numbers = len(self.vectors.floats)
        self.linear = nn.Linear(numbers, 1, bias=False) if numbers else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
        self.dense, size = dense_layers(self.vectors.size, hidden, dropout, self.noise)
        self.output = nn.Linear(size, 1)

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 of the rows."""
        said = self.output(self.dense(self.vectors(indices, numbers)))
        if self.vectors.places:
            said = said + self.wide_rate * self.wide(self.vectors.at(indices))
        if self.linear is not None:
            said = said + self.wide_rate * self.linear(numbers)
        return said.squeeze(1)  # type: ignore[no-any-return]
