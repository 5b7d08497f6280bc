"""A number, which a regressor predicts."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.labels.label import Answer, Label, finite


@dataclass(frozen=True)
class Number(Label):
    """A number; numbers of a model: (n,) predicted numbers.

    interval: the share of rows that `low` and `high` cover, None without intervals. error: half the width of the interval, in the label's unit.
    transform: the function that is predicted in place of the number; numbers of a model are in the label's unit all the same.
    """

    interval: float | None = None
    error: float = 0.0
    transform: str | None = None

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
        """The numbers (n)."""
        return truth.to_numpy()  # type: ignore[no-any-return]

    def decide(self, numbers: Doubles) -> Doubles:
        """The numbers themselves."""
        return numbers

    def bounds(self, numbers: Doubles) -> tuple[Doubles, Doubles]:
        """The lower and the upper ends of the intervals (n)."""
        return numbers - self.error, numbers + self.error

    def answer(self, numbers: Doubles) -> Answer:
        """`prediction`, and `low` and `high` if there are intervals."""
        answer = {"prediction": finite(numbers), "probability": pa.nulls(len(numbers), pa.float64())}
        if self.interval:
            answer |= dict(zip(("low", "high"), map(finite, self.bounds(numbers)), strict=True))
        return answer

    def transformed(self, y: Doubles) -> Doubles:
        """Numbers as the estimator learns them."""
        return np.log(y) if self.transform == "log" else y

    def inverted(self, numbers: Doubles) -> Doubles:
        """What the estimator predicts, in the label's unit."""
        return np.exp(numbers) if self.transform == "log" else numbers
