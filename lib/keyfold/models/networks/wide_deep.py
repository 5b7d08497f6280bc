"""Wide and deep: a linear model, plus dense layers over embeddings and numbers (Cheng et al., 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Noise
from keyfold.models.networks.parts import Vectors, dense_layers


class WideDeep(nn.Module):
    """Maps int32 (rows, indices) and float32 (rows, numbers) to float32 (rows,), or to (rows, units) of several units.

    The output of the linear model is multiplied by `wide_rate`. Adam's steps have the same size for all parameters, so it learns
    `wide_rate` times as fast.
    """

    def __init__(
        self, layout: Layout, embedding: int, hidden: Sequence[int], dropout: float, wide_rate: float, units: int
    ) -> None:
        super().__init__()
        self.noise, self.wide_rate = Noise(), wide_rate
        self.vectors = Vectors(layout, embedding)
        self.wide = nn.EmbeddingBag(self.vectors.table.num_embeddings, units, mode="sum")
        nn.init.zeros_(self.wide.weight)
        numbers = len(self.vectors.floats)
        self.linear = nn.Linear(numbers, units, bias=False) if numbers else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
        self.dense, size = dense_layers(self.vectors.size, hidden, dropout, self.noise)
        self.output = nn.Linear(size, units)

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 (rows,) or (rows, units)."""
        output = self.output(self.dense(self.vectors(indices, numbers)))
        if self.vectors.slices:
            output = output + self.wide_rate * self.wide(self.vectors.table_rows(indices))
        if self.linear is not None:
            output = output + self.wide_rate * self.linear(numbers)
        return output.squeeze(1)  # type: ignore[no-any-return]
