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
    take: what `prediction` is, the mean or the median of the predicted distribution. interval: share that `low` and `high` cover.
    """

    edges: tuple[float, ...] = ()
    lowest: float = 0.0
    highest: float = 0.0
    values: tuple[float, ...] = ()
    take: str = "mean"
    interval: float = 0.9

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

    def quantile(self, numbers: Doubles, share: float) -> Doubles:
        """The quantile of each predicted distribution, which is uniform within a band, in the label's unit (n)."""
        ends = np.array([self.lowest, *self.edges, self.highest])
        total = np.cumsum(numbers, axis=1)
        band = np.minimum((total < share).sum(axis=1), self.width - 1)
        rows = np.arange(len(numbers))
        before, inside = np.where(band > 0, total[rows, band - 1], 0.0), numbers[rows, band]
        part = np.clip((share - before) / np.where(inside > 0, inside, 1.0), 0, 1)
        return ends[band] + part * (ends[band + 1] - ends[band])  # type: ignore[no-any-return]

    def point(self, numbers: Doubles) -> Doubles:
        """The predicted number (n)."""
        # Not BLAS, whose result depends on the number of rows.
        return self.quantile(numbers, 0.5) if self.take == "median" else (numbers * np.array(self.values)).sum(axis=1)

    def bounds(self, numbers: Doubles) -> tuple[Doubles, Doubles]:
        """The lower and the upper ends of the intervals (n)."""
        outside = (1 - self.interval) / 2
        return self.quantile(numbers, outside), self.quantile(numbers, 1 - outside)

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
