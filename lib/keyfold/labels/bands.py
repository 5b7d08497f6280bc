"""A number that is predicted as a distribution over bands of numbers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.labels.label import Answer, Label, finite, probability_maps


@dataclass(frozen=True)
class Bands(Label):
    """A number as one of k ordered bands; numbers of a model: (n, k) probabilities of the bands.

    edges: the k - 1 inner edges, ascending; a band has the numbers from an edge (inclusive) to the next one (exclusive).
    lowest, highest: of the numbers of the train fold, the outer edges. values: the mean number of the train fold in each band.
    take: what `prediction` is, the mean or the median of the predicted distribution. interval: share of the rows that `low` and `high`
    cover. held: share of a predicted distribution between them, if it is not that one.
    floor, cap: share of the lowest band that has exactly the lowest number, and of the highest band that has the highest one; above 0 if
    many rows have that number, as they do where numbers are capped.
    """

    edges: tuple[float, ...] = ()
    lowest: float = 0.0
    highest: float = 0.0
    values: tuple[float, ...] = ()
    take: str = "mean"
    interval: float = 0.9
    held: float | None = None
    floor: float = 0.0
    cap: float = 0.0

    kind: ClassVar[str] = "bands"

    @property
    def width(self) -> int:
        """The number of bands."""
        return len(self.edges) + 1

    @property
    def names(self) -> list[str]:
        """The bands as text: `< 100`, `100 – 200`, `≥ 200`."""
        inner = [f"{a:.15g} – {b:.15g}" for a, b in zip(self.edges, self.edges[1:], strict=False)]
        return [f"< {self.edges[0]:.15g}", *inner, f"≥ {self.edges[-1]:.15g}"]

    def same_question(self, other: Label) -> bool:
        """Whether the edges are the same."""
        return isinstance(other, Bands) and other.edges == self.edges

    @property
    def prediction_type(self) -> pa.DataType:
        """double"""
        return pa.float64()

    @property
    def more_types(self) -> dict[str, pa.DataType]:
        """`band`, `probabilities`, `low` and `high`."""
        of = {"band": pa.string(), "probabilities": pa.map_(pa.string(), pa.float64())}
        return of | dict.fromkeys(("low", "high"), pa.float64())

    @property
    def truth_type(self) -> pa.DataType:
        """double: the number"""
        return pa.float64()

    def encode(self, truth: pa.ChunkedArray) -> npt.NDArray[np.intp]:
        """The codes of the bands (n)."""
        return self.codes(truth.to_numpy())

    def measured(self, truth: pa.ChunkedArray) -> Doubles:
        """The numbers (n)."""
        return truth.to_numpy()  # type: ignore[no-any-return]

    def codes(self, numbers: Doubles) -> npt.NDArray[np.intp]:
        """The codes of the bands of some numbers (n)."""
        return np.searchsorted(np.array(self.edges), numbers, side="right")

    def decide(self, numbers: Doubles) -> npt.NDArray[np.intp]:
        """The code of the most probable band (n); the first of equals."""
        return numbers.argmax(axis=1)

    def pieces(self, numbers: Doubles) -> tuple[Doubles, Doubles]:
        """The predicted distributions: k + 3 ascending ends, and the probabilities of the k + 2 pieces between them (n, k + 2).

        A distribution is uniform within each piece; the first and the last one are the lowest and the highest number alone.
        """
        ends = np.array([self.lowest, self.lowest, *self.edges, self.highest, self.highest])
        first, inner, last = numbers[:, :1], numbers[:, 1:-1], numbers[:, -1:]
        return ends, np.hstack([first * self.floor, first * (1 - self.floor), inner, last * (1 - self.cap), last * self.cap])

    def quantile(self, numbers: Doubles, share: float) -> Doubles:
        """The quantile of each predicted distribution, in the label's unit (n)."""
        ends, p = self.pieces(numbers)
        total = np.cumsum(p, axis=1)
        piece, rows = np.minimum((total < share).sum(axis=1), p.shape[1] - 1), np.arange(len(p))
        before, inside = np.where(piece > 0, total[rows, piece - 1], 0.0), p[rows, piece]
        part = np.clip((share - before) / np.where(inside > 0, inside, 1.0), 0, 1)
        return np.minimum(ends[piece] + part * (ends[piece + 1] - ends[piece]), ends[piece + 1])  # type: ignore[no-any-return]

    def point(self, numbers: Doubles) -> Doubles:
        """The predicted number (n)."""
        if self.take == "median":
            return self.quantile(numbers, 0.5)
        # Not BLAS, whose result depends on the number of rows.
        return np.clip((numbers * np.array(self.values)).sum(axis=1), self.lowest, self.highest)

    def bounds(self, numbers: Doubles) -> tuple[Doubles, Doubles]:
        """The lower and the upper ends of the intervals (n); the predicted number is between them."""
        outside, point = (1 - (self.interval if self.held is None else self.held)) / 2, self.point(numbers)
        low, high = self.quantile(numbers, outside), self.quantile(numbers, 1 - outside)
        return np.minimum(low, point), np.maximum(high, point)

    def answer(self, numbers: Doubles) -> Answer:
        """The predicted number, the most probable band with its probability, all probabilities, and the interval."""
        known, code = np.isfinite(numbers).all(axis=1), self.decide(numbers)
        low, high, point = (np.where(known, values, np.nan) for values in (*self.bounds(numbers), self.point(numbers)))
        return {
            "prediction": finite(point),
            "probability": finite(np.where(known, numbers[np.arange(len(code)), code], np.nan)),
            "band": pa.array(self.names, pa.string()).take(pa.array(code, mask=~known)),
            "probabilities": probability_maps(self.names, numbers),
            "low": finite(low),
            "high": finite(high),
        }
