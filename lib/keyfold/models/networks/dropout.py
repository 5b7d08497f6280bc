"""Dropout whose zeros follow from the seed, the step and the stream of a row, so that they are the same for any number of ranks."""

import numpy as np
import torch
from torch import Tensor, nn


class Noise:
    """What the layers of a network draw from."""

    def __init__(self) -> None:
        self.seed, self.step, self.streams = 0, 0, range(1)

    def at(self, seed: int, step: int, streams: range) -> None:
        """Rows that come next are of these streams, as many of each."""
        self.seed, self.step, self.streams = seed, step, streams

    def uniform(self, layer: int, rows: int, columns: int) -> Tensor:
        """float32 (rows, columns) in [0, 1)."""
        each = rows // len(self.streams)
        drawn = (
            np.random.default_rng([self.seed, self.step, stream, layer]).random((each, columns), np.float32)
            for stream in self.streams
        )
        return torch.from_numpy(np.concatenate(list(drawn)))


class Dropout(nn.Module):
    """Sets a share of the cells of (rows, columns) to 0 in training, and scales the others."""

    def __init__(self, share: float, layer: int, noise: Noise) -> None:
        super().__init__()
        self.share, self.layer, self.noise = share, layer, noise

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of x."""
        if not self.training or not self.share:
            return x
        kept = self.noise.uniform(self.layer, *x.shape).to(x.device) >= self.share
        return x * kept / (1 - self.share)
