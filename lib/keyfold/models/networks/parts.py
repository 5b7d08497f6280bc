"""Parts of networks: features as one vector, a text, an image, and dense layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keyfold.features.matrix import Layout
from keyfold.models.networks.dropout import Dropout, Noise


class Vectors(nn.Module):
    """Maps int32 (rows, indices) and float32 (rows, numbers) to float32 (rows, size).

    An index becomes its embedding, a list of indices the mean of its embeddings; numbers are unchanged. All features share one table:
    `begins` has, by feature, the first row of its embeddings and their number.
    """

    def __init__(self, layout: Layout, embedding: int) -> None:
        super().__init__()
        self.begins: dict[str, tuple[int, int]] = {}
        self.slices: list[slice] = []
        columns: list[int] = []
        offsets: list[int] = []
        begin = 0
        for name, at in layout.indices.items():
            self.slices.append(slice(len(columns), len(columns) + at.stop - at.start))
            columns += range(at.start, at.stop)
            offsets += [begin] * (at.stop - at.start)
            self.begins[name] = (begin, layout.widths[name])
            begin += layout.widths[name]
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int32), persistent=False)
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        floats = [i for at in layout.numbers.values() for i in range(at.start, at.stop)]
        self.register_buffer("floats", torch.tensor(floats, dtype=torch.int32), persistent=False)
        self.table = nn.Embedding(max(1, begin), embedding)
        nn.init.normal_(self.table.weight, std=embedding**-0.5 / 10)
        self.size = len(self.slices) * embedding + len(floats)

    def table_rows(self, indices: Tensor) -> Tensor:
        """Rows of the table for the indices of these features, int32 (rows, indices)."""
        selected = indices if len(self.columns) == indices.shape[1] else indices.index_select(1, self.columns)
        return selected + self.offsets

    def forward(self, indices: Tensor, numbers: Tensor) -> Tensor:
        """float32 (rows, size)."""
        rows = self.table(self.table_rows(indices))
        vectors = [rows[:, s.start] if s.stop - s.start == 1 else rows[:, s].mean(1) for s in self.slices]
        floats = numbers if len(self.floats) == numbers.shape[1] else numbers.index_select(1, self.floats)
        return torch.cat([*vectors, floats], 1)


class Words(nn.Module):
    """Maps a text, int32 (rows, tokens) padded with 0, to float32 (rows, size): the state of an LSTM after the last token."""

    def __init__(self, width: int, embedding: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.table = nn.Embedding(width, embedding)
        self.lstm = nn.LSTM(embedding, size, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32 (rows, size); a text without tokens is read as one padding token."""
        last = (tokens > 0).long().sum(1).clamp(min=1) - 1
        states, _ = self.lstm(self.table(tokens))
        return states[torch.arange(len(states), device=states.device), last]  # type: ignore[no-any-return]


class Picture(nn.Module):
    """Maps pixels in [0, 1], float32 (rows, height × width × channels), to float32 (rows, size).

    Each 3 × 3 convolution is followed by a pooling that halves the image; the result is the mean over all positions.
    """

    def __init__(self, shape: tuple[int, ...], channels: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.size = shape, channels[-1]
        layers: list[nn.Module] = []
        for before, after in zip([shape[2], *channels], channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        self.net = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 (rows, size)."""
        return self.net(_as_images(pixels, self.shape) - 0.5).mean((2, 3))  # type: ignore[no-any-return]


class ResNet50(nn.Module):
    """Maps pixels in [0, 1], float32 (rows, height × width × 3), to float32 (rows, 2048) by ResNet-50 without its last layer (He et al., 2016)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        import torchvision

        self.shape, self.size = shape, 2048
        self.net = torchvision.models.resnet50(weights=None)
        self.net.fc = nn.Identity()
        # The normalisation of the published weights.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def train(self, mode: bool = True) -> "ResNet50":
        """Sets the mode; batch normalisation stays in evaluation mode, since its statistics would depend on the number of ranks."""
        super().train(mode)
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 (rows, 2048)."""
        return self.net((_as_images(pixels, self.shape) - self.mean) / self.deviation)  # type: ignore[no-any-return]


def _as_images(pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """float32 (rows, channels, height, width)."""
    return pixels.reshape(-1, *shape).permute(0, 3, 1, 2)


def dense_layers(size: int, hidden: Sequence[int], dropout: float, noise: Noise, first: int = 0) -> tuple[nn.Sequential, int]:
    """Dense layers with ReLU and dropout, and the size of the last one. `first` numbers the first layer for its dropout."""
    layers: list[nn.Module] = []
    for number, width in enumerate(hidden):
        layers += [nn.Linear(size, width), nn.ReLU(), Dropout(dropout, first + number, noise)]
        size = width
    return nn.Sequential(*layers), size
