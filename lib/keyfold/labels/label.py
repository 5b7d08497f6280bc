"""What all kinds of labels have in common."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.core.types import ARROW

Answer = dict[str, pa.Array]
"""Columns of n answers by name: `prediction` and `probability`, and those of `Label.more_types`."""

ANSWER = ("prediction", "probability")
_CACHED = 1 << 21  # keys of maps, at most, that are kept


@dataclass(frozen=True)
class Label(ABC):
    """The label of a model, as it was fitted on the train fold.

    family: the type family of the label's column. Labels are compared, saved as JSON with the model, and count for its identity.
    """

    family: str

    kind: ClassVar[str]
    has_classes: ClassVar[bool] = True

    @property
    def width(self) -> int:
        """Number of numbers that an estimator gives for each row; those of n rows have shape (n,) if it is 1, else (n, width)."""
        return 1

    @property
    def gives_probability(self) -> bool:
        """Whether `probability` is that of one class, the same for all rows, so that rows can be ordered by it."""
        return False

    @property
    @abstractmethod
    def prediction_type(self) -> pa.DataType:
        """The Arrow type of `prediction`."""

    @property
    def more_types(self) -> dict[str, pa.DataType]:
        """The Arrow types of an answer's columns besides `prediction` and `probability`."""
        return {}

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The Arrow types of the columns of an answer."""
        return {"prediction": self.prediction_type, "probability": pa.float64(), **self.more_types}

    @property
    @abstractmethod
    def truth_type(self) -> pa.DataType:
        """The Arrow type of the column `keyfold_label` of labelled rows."""

    @abstractmethod
    def encode(self, truth: pa.ChunkedArray) -> npt.NDArray[Any]:
        """Labels of n rows as an estimator learns them: n numbers, booleans or codes, or a sparse matrix of booleans (n, k)."""

    def measured(self, truth: pa.ChunkedArray) -> npt.NDArray[Any]:
        """Labels of n rows as metrics compare them with a model's numbers: as `encode`, but numbers for bands of numbers, and an array for labels."""
        return self.encode(truth)

    @abstractmethod
    def decide(self, numbers: Doubles) -> npt.NDArray[Any]:
        """What a model decides on by its numbers, in the form of `encode`."""

    @abstractmethod
    def answer(self, numbers: Doubles) -> Answer:
        """The answer for the numbers of n rows; NULL where a number is not finite."""

    def numbers(self, answer: Answer) -> Doubles:
        """The numbers of which an answer was made; NaN for a row without an answer."""
        if self.width == 1:
            return answer["probability" if self.has_classes else "prediction"].cast(pa.float64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
        maps = answer["probabilities"]
        numbers = np.full((len(maps), self.width), np.nan)
        numbers[maps.is_valid().to_numpy(zero_copy_only=False)] = maps.drop_null().items.to_numpy().reshape(-1, self.width)
        return numbers

    @abstractmethod
    def same_question(self, other: "Label") -> bool:
        """Whether answers to both can be compared: they are about the same classes, or both are numbers."""

    def to_json(self) -> dict[str, Any]:
        """The label as JSON values."""
        return {"kind": self.kind, **asdict(self)}


def finite(values: Doubles) -> pa.Array:
    """Doubles as Arrow, NULL where they are not finite."""
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def class_type(family: str) -> pa.DataType:
    """The Arrow type of classes of a type family."""
    return ARROW[family]


def probability_maps(names: list[str], numbers: Doubles) -> pa.Array:
    """A map from each of k names to its number, for n rows of k numbers; NULL for a row with a number that is not finite."""
    known = np.isfinite(numbers).all(axis=1)
    mask, numbers = (None, numbers) if known.all() else (pa.array(~known), numbers[known])
    ends = np.cumsum(np.where(known, numbers.shape[1], 0))
    keys = (_cached_keys if numbers.size <= _CACHED else _keys)(tuple(names), len(numbers))
    return pa.MapArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), keys, pa.array(numbers.reshape(-1)), mask=mask)


def _keys(names: tuple[str, ...], rows: int) -> pa.Array:
    """The names, as often as there are rows."""
    return pa.array(names, pa.string()).take(pa.array(np.tile(np.arange(len(names), dtype=np.int32), rows)))


_cached_keys = lru_cache(maxsize=1)(_keys)  # batches have the same number of rows
