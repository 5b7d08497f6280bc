"""One of two classes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Bools, Doubles
from keyfold.core.types import spark_text
from keyfold.labels.label import Answer, Label, class_type, finite

THRESHOLD = 0.5


@dataclass(frozen=True)
class Binary(Label):
    """One of two classes; numbers of a model: (n,) probabilities of the positive class.

    threshold: the least probability with which the positive class is predicted.
    """

    positive: Any = None
    negative: Any = None
    threshold: float = THRESHOLD

    kind: ClassVar[str] = "binary"

    @property
    def names(self) -> list[str]:
        """The classes as text, in the order of their codes: the negative one first."""
        return [spark_text(self.negative), spark_text(self.positive)]

    @property
    def gives_probability(self) -> bool:
        """Yes: that of the positive class."""
        return True

    def same_question(self, other: Label) -> bool:
        """Whether the positive class is the same."""
        return isinstance(other, Binary) and other.positive == self.positive

    @property
    def prediction_type(self) -> pa.DataType:
        """The type of the classes."""
        return class_type(self.family)

    @property
    def truth_type(self) -> pa.DataType:
        """boolean: whether the class is the positive one"""
        return pa.bool_()

    def encode(self, truth: pa.ChunkedArray) -> Bools:
        """Whether each row is of the positive class (n)."""
        return truth.to_numpy()  # type: ignore[no-any-return]

    def decide(self, numbers: Doubles) -> Bools:
        """Whether the positive class is predicted (n)."""
        return numbers >= self.threshold

    def answer(self, numbers: Doubles) -> Answer:
        """The predicted class, and the probability of the positive class."""
        classes, positive = pa.array([self.negative, self.positive], self.prediction_type), self.decide(numbers)
        code = pa.array(positive.astype(np.int8), mask=~np.isfinite(numbers))
        return {"prediction": classes.take(code), "probability": finite(numbers)}
