"""A number, which a regressor predicts."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.labels.label import Answer, Label, finite


@dataclass(frozen=True)
class Number(Label):
    """A number; numbers of a model: (n,) predicted numbers, in the label's unit.

    interval: the share of rows that `low` and `high` cover, None without intervals. error: half the width of the interval, in the unit
    that the estimator learns. transform: the function of the number that the estimator learns, `log`, or None for the number itself.
    points, sizes: of intervals whose width depends on the predicted number, the size of errors, above 0, at ascending predicted numbers,
    both in that unit; between the points sizes are on lines. `error` is then a multiple of the size.
    """

    interval: float | None = None
    error: float = 0.0
    transform: str | None = None
    points: tuple[float, ...] = ()
    sizes: tuple[float, ...] = ()

    kind: ClassVar[str] = "number"
    has_classes: ClassVar[bool] = False

    def same_question(self, other: Label) -> bool:
        """Whether both are numbers."""
        return not other.has_classes

    @property
    def prediction_type(self) -> pa.DataType:
        """double"""
        return pa.float64()

    @property
    def more_types(self) -> dict[str, pa.DataType]:
        """`low` and `high`, if there are intervals."""
        return dict.fromkeys(("low", "high"), pa.float64()) if self.interval else {}

    @property
    def truth_type(self) -> pa.DataType:
        """double"""
        return pa.float64()

    def encode(self, truth: pa.ChunkedArray) -> Doubles:
        """The numbers as the estimator learns them (n)."""
        return self.transformed(truth.to_numpy())

    def measured(self, truth: pa.ChunkedArray) -> Doubles:
        """The numbers (n)."""
        return truth.to_numpy()  # type: ignore[no-any-return]

    def decide(self, numbers: Doubles) -> Doubles:
        """The numbers themselves."""
        return numbers

    def bounds(self, numbers: Doubles) -> tuple[Doubles, Doubles]:
        """The lower and the upper ends of the intervals (n); with a transform they are symmetric in its unit."""
        centre = self.transformed(numbers)
        half = self.error * self.difficulty(centre)
        return self.inverted(centre - half), self.inverted(centre + half)

    def difficulty(self, learnt: Doubles) -> Doubles:
        """The size of errors at predicted numbers, as the estimator learns them (n); 1 if all intervals have one width."""
        return np.interp(learnt, self.points, self.sizes) if self.points else np.ones(len(learnt))

    def to_json(self) -> dict[str, Any]:
        """The label as JSON values, without sizes of errors if there are none."""
        return {name: value for name, value in super().to_json().items() if value != ()}

    def answer(self, numbers: Doubles) -> Answer:
        """`prediction`, and `low` and `high` if there are intervals."""
        answer = {"prediction": finite(numbers), "probability": pa.nulls(len(numbers), pa.float64())}
        if self.interval:
            answer |= dict(zip(("low", "high"), map(finite, self.bounds(numbers)), strict=True))
        return answer

    def transformed(self, numbers: Doubles) -> Doubles:
        """Numbers as the estimator learns them; not finite where the transform is not defined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(numbers) if self.transform == "log" else numbers

    def inverted(self, learnt: Doubles) -> Doubles:
        """The inverse of `transformed`: what the estimator predicts, in the label's unit; infinite if it is too large for a double."""
        with np.errstate(over="ignore"):
            return np.exp(learnt) if self.transform == "log" else learnt
