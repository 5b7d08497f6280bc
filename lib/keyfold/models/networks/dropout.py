"""Dropout that depends on the seed, the step and the stream of a row, so that it is the same for any number of ranks."""

import numpy as np
import torch
from torch import Tensor, nn


class Noise:
    """Random numbers for the dropout layers of a network."""

    def __init__(self) -> None:
        self.seed, self.step, self.streams = 0, 0, range(1)

    def at(self, seed: int, step: int, streams: range) -> None:
        """Sets the seed, the step, and the streams of the next rows; the streams have equally many rows."""
        self.seed, self.step, self.streams = seed, step, streams

    def uniform(self, layer: int, rows: int, columns: int) -> Tensor:
        """float32 (rows, columns) in [0, 1)."""
        shape = rows // len(self.streams), columns
        keys = ([self.seed, self.step, stream, layer] for stream in self.streams)
        return torch.from_numpy(np.concatenate([np.random.default_rng(key).random(shape, np.float32) for key in keys]))


class Dropout(nn.Module):
    """Sets a share of the cells to 0 in training, and scales the others up."""

    def __init__(self, share: float, layer: int, noise: Noise) -> None:
        super().__init__()
        self.share, self.layer, self.noise = share, layer, noise

    def forward(self, x: Tensor) -> Tensor:
        """float32 (rows, columns), the shape of x."""
        if not self.training or not self.share:
            return x
        kept = self.noise.uniform(self.layer, *x.shape).to(x.device) >= self.share
        return x * kept / (1 - self.share)
