"""Wide and deep: a linear model over all indices, and beside it embeddings and numbers through dense layers (Cheng et al., 2016); with `pairs` also a factorization machine (Guo et al., 2017: DeepFM)."""

from collections.abc import Sequence

from torch import Tensor, nn

from keyfold.matrix import Layout
from keyfold.networks.noise import Noise
from keyfold.networks.parts import Vectors, dense


class WideDeep(nn.Module):
    """int32 (rows, indices) and float32 (rows, numbers) to one float32 a row.

    The linear model's weights are kept `wide_rate` times too small: adam moves all parameters alike, and so that one faster. The inner
    products of all pairs of embeddings are added `pairs` times.
    """

    def __init__(
        self, layout: Layout, embedding: int, hidden: Sequence[int], dropout: float, wide_rate: float, pairs: float
    ) -> None:
        super().__init__()
        self.noise, self.wide_rate, self.pairs = Noise(), wide_rate, pairs
        self.vectors = Vectors(layout, embedding)
        self.wide = nn.EmbeddingBag(self.vectors.table.num_embeddings, 1, mode="sum")
        nn.init.zeros_(self.wide.weight)
        numbers = len(self.vectors.floats)
        self.linear = nn.Linear(numbers, 1, bias=False) if numbers else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
        self.dense, size = dense(self.vectors.size, hidden, dropout, self.noise)
        self.output = nn.Linear(size, 1)

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 of the rows."""
        found = self.vectors(indices, numbers)
        said = self.output(self.dense(found))
        if self.pairs and self.vectors.places:
            each = found[:, : len(self.vectors.places) * self.vectors.table.embedding_dim].unflatten(
                1, (len(self.vectors.places), -1)
            )
            twice = each.sum(1).square() - each.square().sum(1)  # of the products of each two (Rendle, 2010)
            said = said + self.pairs / 2 * twice.sum(1, keepdim=True)
        if self.vectors.places:
            said = said + self.wide_rate * self.wide(self.vectors.at(indices))
        if self.linear is not None:
            said = said + self.wide_rate * self.linear(numbers)
        return said.squeeze(1)  # type: ignore[no-any-return]
