"""One of several classes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core.arrays import Doubles, Int64s
from keyfold.core.types import spark_text
from keyfold.labels.label import Answer, Label, class_type, finite, probability_maps

MAX_CLASSES = 1000
UNKNOWN = -1  # the code of a class that the train fold does not have


@dataclass(frozen=True)
class Classes(Label):
    """One of 3 to 1,000 classes; numbers of a model: (n, k) probabilities of the classes.

    classes: the k classes of the train fold, in ascending order, each as JSON; the code of a class is its place.
    """

    classes: tuple[Any, ...] = ()

    kind: ClassVar[str] = "classes"

    @property
    def width(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @property
    def names(self) -> list[str]:
        """The classes as text, in the order of their codes."""
        return [spark_text(value) for value in self.classes]

    def same_question(self, other: Label) -> bool:
        """Whether the classes are the same."""
        return isinstance(other, Classes) and other.classes == self.classes

    @property
    def prediction_type(self) -> pa.DataType:
        """The type of the classes."""
        return class_type(self.family)

    @property
    def more_types(self) -> dict[str, pa.DataType]:
        """`probabilities`: a map of class, as text, to probability."""
        return {"probabilities": pa.map_(pa.string(), pa.float64())}

    @property
    def truth_type(self) -> pa.DataType:
        """bigint: the code of the class, -1 for a class that the train fold does not have"""
        return pa.int64()

    def encode(self, truth: pa.ChunkedArray) -> Int64s:
        """The codes (n)."""
        return truth.to_numpy()  # type: ignore[no-any-return]

    def decide(self, numbers: Doubles) -> npt.NDArray[np.intp]:
        """The code of the most probable class (n); the first of equals."""
        return numbers.argmax(axis=1)

    def answer(self, numbers: Doubles) -> Answer:
        """The most probable class, its probability, and the probabilities of all."""
        classes, code = pa.array(self.classes, self.prediction_type), self.decide(numbers)
        known = np.isfinite(numbers).all(axis=1)
        return {
            "prediction": classes.take(pa.array(code, mask=~known)),
            "probability": finite(np.where(known, numbers[np.arange(len(code)), code], np.nan)),
            "probabilities": probability_maps(self.names, numbers),
        }
