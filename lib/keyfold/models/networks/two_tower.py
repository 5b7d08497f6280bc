"""Two towers: query and candidate as vectors, whose similarity is the prediction (Yi et al., 2019)."""

from collections.abc import Collection, Sequence

from torch import Tensor, nn

from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Noise
from keyfold.models.networks.parts import Vectors, dense_layers


class TwoTower(nn.Module):
    """Maps int32 (rows, indices) and float32 (rows, numbers) to float32 (rows,): a multiple of the vectors' cosine, plus a bias."""

    def __init__(
        self, layout: Layout, query: Collection[str], candidate: Collection[str], embedding: int, hidden: Sequence[int], size: int,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.noise = Noise()
        self.query = _Tower(layout.only(query), embedding, hidden, size, dropout, self.noise, 0)
        self.candidate = _Tower(layout.only(candidate), embedding, hidden, size, dropout, self.noise, len(hidden))
        self.output = nn.Linear(1, 1)
        nn.init.constant_(self.output.weight, 5.0)
        nn.init.zeros_(self.output.bias)

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 (rows,)."""
        cosine = (self.query(indices, numbers) * self.candidate(indices, numbers)).sum(1, keepdim=True)
        return self.output(cosine).squeeze(1)  # type: ignore[no-any-return]


class _Tower(nn.Module):
    def __init__(
        self, layout: Layout, embedding: int, hidden: Sequence[int], size: int, dropout: float, noise: Noise, first: int
    ) -> None:
        super().__init__()
        self.vectors = Vectors(layout, embedding)
        self.dense, width = dense_layers(self.vectors.size, hidden, dropout, noise, first)
        self.last = nn.Linear(width, size)

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        return nn.functional.normalize(self.last(self.dense(self.vectors(indices, numbers))))
