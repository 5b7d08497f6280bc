"""One of several classes, or none: the neutral answer."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Doubles
from keyfold.labels.classes import Classes
from keyfold.labels.label import Answer, Label

NEUTRAL = "neutral"


@dataclass(frozen=True)
class Neutral(Classes):
    """One of several classes, or `neutral`; numbers of a model: (n, k) probabilities of the classes that it learns.

    classes: texts, in ascending order; without `abstain`, the last one is `neutral`, a class as any other in training.
    abstain: if set, `neutral` is not learnt: the model declines rows whose most probable class is less probable than this.
    """

    abstain: float | None = None
    neutral: str = NEUTRAL

    @property
    def answers(self) -> tuple[str, ...]:
        """The classes without the neutral one; their codes are their places."""
        return self.classes if self.abstain is not None else self.classes[:-1]

    def same_question(self, other: Label) -> bool:
        """Whether the classes are the same, and both learn the neutral one, or neither does."""
        learns_neutral = isinstance(other, Neutral) and (other.abstain is None) == (self.abstain is None)
        return learns_neutral and super().same_question(other)

    def declines(self, numbers: Doubles) -> Bools:
        """Whether a row is answered with `neutral` (n)."""
        if self.abstain is not None:
            return numbers.max(axis=1) < self.abstain
        return self.decide(numbers) == len(self.answers)

    def best_answer(self, numbers: Doubles) -> npt.NDArray[np.intp]:
        """The code of the most probable class that is not neutral (n); the first of equals."""
        return numbers[:, : len(self.answers)].argmax(axis=1)

    def confidence(self, numbers: Doubles) -> Doubles:
        """The probability of that class (n), by which rows are answered first; with `abstain`, those from it on are answered."""
        return numbers[:, : len(self.answers)].max(axis=1)  # type: ignore[no-any-return]

    def answer(self, numbers: Doubles) -> Answer:
        """As of classes; the prediction of a declined row is `neutral`, and `probability` that of its most probable class."""
        answer = super().answer(numbers)
        if self.abstain is None:
            return answer
        declined = pa.array(self.declines(numbers), mask=answer["prediction"].is_null().to_numpy(zero_copy_only=False))
        return answer | {"prediction": pc.if_else(declined, self.neutral, answer["prediction"])}
