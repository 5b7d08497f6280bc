"""A category's place in a vocabulary that was fitted: 0 is NULL, 1 is unseen (or too rare), then by frequency.

A value is found by its value hash, in Spark in a cuckoo table of two arrays, in NumPy by bisection. Two values of one
vocabulary never share a hash (fitting refuses); an unseen value does with a chance of 2^-64 a vocabulary entry.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from keyfold import lookup
from keyfold.errors import DataError
from keyfold.features.kind import Kind, State, Stats, int32
from keyfold.values import HASHED, ArrowValue, SparkValue

if TYPE_CHECKING:
    from pyspark.sql import Column

NULL, UNSEEN, FIRST = 0, 1, 2


class OneHot(Kind):
    """An index in [0, size of the vocabulary + 2); a matrix holds it as one 1 in as many columns."""

    takes: ClassVar = HASHED
    integers: ClassVar = True
    statistics: ClassVar = ("vocabulary",)

    input_col: str
    min_frequency: int = Field(1, ge=1, description="rarer values count as unseen")
    max_categories: int | None = Field(None, ge=1, description="the most frequent ones; the others count as unseen")
    handle_unseen: Literal["own", "error"] = "own"

    def fit(self, name: str, stats: Sequence[Stats]) -> State:
        """The vocabulary as canonical values, most frequent first, ties by their UTF-8 bytes; and their hashes."""
        counts: dict[Any, int] = stats[0]["vocabulary"]
        kept = [value for value, count in counts.items() if count >= self.min_frequency]
        kept.sort(key=lambda value: (-counts[value], str(value).encode()))
        kept = kept[: self.max_categories]
        hashes = lookup.hashes_of(kept)
        if len(set(hashes)) < len(hashes):
            raise DataError(f"features.{name}: two values of `{self.input_col}` share a 64-bit hash; use `hashed` instead")
        return {"vocabulary": kept}

    def width(self, state: State) -> int:
        """The vocabulary, NULL and unseen."""
        return len(state["vocabulary"]) + FIRST

    def spark(self, values: Sequence[SparkValue], state: State) -> "Column":
        """int"""
        from pyspark.sql import functions as F

        (value,) = values
        found = lookup.spark_find(value.hash, state["vocabulary"]) + F.lit(FIRST)
        unseen = F.lit(UNSEEN)
        if self.handle_unseen == "error":
            message = F.concat(F.lit(f"keyfold: {self._unseen} "), value.column.cast("string"))
            unseen = F.raise_error(message).cast("int")
        return F.when(value.null, F.lit(NULL)).otherwise(F.coalesce(found, unseen))

    def arrow(self, values: Sequence[ArrowValue], state: State) -> npt.NDArray[Any]:
        """int32"""
        (value,) = values
        found = lookup.find(value.hash, state["vocabulary"])
        unseen = (found < 0) & ~value.null
        if self.handle_unseen == "error" and unseen.any():
            raise DataError(f"{self._unseen} {value.array.filter(unseen)[0]}")
        return int32(np.where(value.null, NULL, np.where(unseen, UNSEEN, found + FIRST)))

    @property
    def _unseen(self) -> str:
        return f"column `{self.input_col}` has a value that was not there at fitting, and `handle_unseen` is `error`:"

    def note(self, state: State) -> str:
        """The most frequent values."""
        words = [str(v) for v in state["vocabulary"][:6]]
        return ", ".join(words) + (" …" if len(state["vocabulary"]) > len(words) else "")
