"""What networks are made of: features as one vector, a text, a picture, and dense layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Dropout, Noise


class Vectors(nn.Module):
    """int32 (rows, indices) and float32 (rows, numbers) to float32 (rows, size): each index as its vector, of a list the mean; numbers as they are.

    `begins`: by feature where its vectors begin in the one table of all, and how many they are.
    """

    def __init__(self, layout: Layout, embedding: int) -> None:
        super().__init__()
        self.begins: dict[str, tuple[int, int]] = {}
        self.places: list[slice] = []
        columns: list[int] = []
        offsets: list[int] = []
        begin = 0
        for name, stand in layout.indices.items():
            self.places.append(slice(len(columns), len(columns) + stand.stop - stand.start))
            columns += range(stand.start, stand.stop)
            offsets += [begin] * (stand.stop - stand.start)
            self.begins[name] = (begin, layout.widths[name])
            begin += layout.widths[name]
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int32), persistent=False)
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        floats = [i for stand in layout.numbers.values() for i in range(stand.start, stand.stop)]
        self.register_buffer("floats", torch.tensor(floats, dtype=torch.int32), persistent=False)
        self.table = nn.Embedding(max(1, begin), embedding)
        nn.init.normal_(self.table.weight, std=embedding**-0.5 / 10)
        self.size = len(self.places) * embedding + len(floats)

    def at(self, indices: Tensor) -> Tensor:
        """The places of the indices in the one table, int32 (rows, indices of these features)."""
        mine = indices if len(self.columns) == indices.shape[1] else indices.index_select(1, self.columns)
        return mine + self.offsets

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 (rows, size)."""
        found = self.table(self.at(indices))
        each = [found[:, s.start] if s.stop - s.start == 1 else found[:, s].mean(1) for s in self.places]
        return torch.cat([*each, numbers if len(self.floats) == numbers.shape[1] else numbers.index_select(1, self.floats)], 1)


class Words(nn.Module):
    """A text, as int32 (rows, tokens) in which 0 fills it up, to float32 (rows, size): embeddings, and where an LSTM ends behind the last token."""

    def __init__(self, width: int, embedding: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.table = nn.Embedding(width, embedding)
        self.lstm = nn.LSTM(embedding, size, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32 (rows, size); of a text without tokens what the LSTM says of one that is empty."""
        last = (tokens > 0).long().sum(1).clamp(min=1) - 1
        found, _ = self.lstm(self.table(tokens))
        return found[torch.arange(len(found), device=found.device), last]  # type: ignore[no-any-return]


class Picture(nn.Module):
    """Pixels in [0, 1], float32 (rows, height × width × channels), to float32 (rows, size): convolutions of 3 × 3, each halved, and the mean over the rest."""

    def __init__(self, shape: tuple[int, ...], channels: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.size = shape, channels[-1]
        layers: list[nn.Module] = []
        for before, after in zip([shape[2], *channels], channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        self.net = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 (rows, size)."""
        return self.net(_upright(pixels, self.shape) - 0.5).mean((2, 3))  # type: ignore[no-any-return]


class ResNet50(nn.Module):
    """The same by torchvision's ResNet-50 without its last layer; the statistics of its batch normalisation stay as they are (He et al., 2016)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        import torchvision

        self.shape, self.size = shape, 2048
        self.net = torchvision.models.resnet50(weights=None)
        self.net.fc = nn.Identity()
        # What the published weights were trained with.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def train(self, mode: bool = True) -> "ResNet50":
        """Batches of ranks are not alike, and those of statistics would be another network for each number of ranks."""
        super().train(mode)
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 (rows, 2048)."""
        return self.net((_upright(pixels, self.shape) - self.mean) / self.deviation)  # type: ignore[no-any-return]


def _upright(pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(rows, channels, height, width)."""
    return pixels.reshape(-1, *shape).permute(0, 3, 1, 2)


def dense_layers(size: int, hidden: Sequence[int], dropout: float, noise: Noise, first: int = 0) -> tuple[nn.Sequential, int]:
    """Layers with ReLU and dropout, and the size of the last; `first`: the number of the first layer, by which dropout differs."""
    layers: list[nn.Module] = []
    for number, width in enumerate(hidden):
        layers += [nn.Linear(size, width), nn.ReLU(), Dropout(dropout, first + number, noise)]
        size = width
    return nn.Sequential(*layers), size
