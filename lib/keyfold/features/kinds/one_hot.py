"""A category's place in a vocabulary that was fitted: 0 is NULL, 1 is unseen (or too rare), then by frequency.

A value is found by its value hash, in Spark in a cuckoo table of two arrays, in NumPy by bisection. Two values of one
vocabulary never share a hash (fitting refuses); an unseen value does with a chance of 2^-64 a vocabulary entry.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from keyfold.core import hashing, sql
from keyfold.core import vocabulary as lookup
from keyfold.core.arrays import Int64s
from keyfold.core.section import Section
from keyfold.core.types import HASHED, ArrowValue, SqlValue
from keyfold.errors import RowsError
from keyfold.features.fitting import CountedExpression, FeatureStatistics, Target
from keyfold.features.kind import Array, FeatureOutput, Kind, State, as_int32, fit_vocabulary, salt_of

NULL, UNSEEN, FIRST = 0, 1, 2


class HashedUnseen(Section):
    """Unseen values get `hashed` places of their own, behind the vocabulary."""

    hashed: int = Field(ge=1, le=hashing.MAX_BUCKETS // 2)


class OneHot(Kind):
    """An index in [0, size of the vocabulary + 2); a matrix holds it as one 1 in as many columns."""

    takes: ClassVar = HASHED
    salt_prefix: ClassVar = "onehot"

    input_col: str
    min_frequency: int = Field(1, ge=1, description="rarer values count as unseen")
    max_categories: int | None = Field(None, ge=1, description="the most frequent ones; the others count as unseen")
    handle_unseen: Literal["own", "error"] | HashedUnseen = Field(
        "own", description="one place for all, an error, or {hashed: n} for n places by hash"
    )

    def counted(self, values: Sequence[SqlValue], target: Target | None) -> list[CountedExpression]:
        """The values."""
        return [CountedExpression(values[0].canonical)]

    def fit(self, name: str, of: FeatureStatistics) -> State:
        """The vocabulary as canonical values, most frequent first, ties by their UTF-8 bytes."""
        family = of.inputs[0]["family"]
        known = fit_vocabulary(name, self.input_col, family, of.counts[0], self.min_frequency, self.max_categories)
        return {"vocabulary": known, "salt": salt_of(self, name, None)}

    def out(self, state: State) -> FeatureOutput:
        """An index: the vocabulary, NULL, unseen, and the places of hashed ones."""
        return FeatureOutput("int", len(state["vocabulary"]) + FIRST + self._places)

    @property
    def _places(self) -> int:
        return self.handle_unseen.hashed if isinstance(self.handle_unseen, HashedUnseen) else 0

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int"""
        (value,) = values
        unseen = str(UNSEEN)
        if self.handle_unseen == "error":
            message = f"concat({sql.text_literal(f'keyfold: {self._unseen} ')}, CAST({value.column} AS STRING))"
            unseen = f"CAST(raise_error({message}) AS INT)"
        elif self._places:
            place = hashing.sql_reduce(hashing.sql_feature_hash(state["salt"], [value.hash]), self._places)
            unseen = f"CAST({place} + {len(state['vocabulary']) + FIRST}L AS INT)"
        found = lookup.sql_lookup(value.hash, state["vocabulary"])
        return f"CASE WHEN {value.null} THEN {NULL} ELSE coalesce({found} + {FIRST}, {unseen}) END"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32"""
        (value,) = values
        found = lookup.lookup(value.hash, state["vocabulary"])
        unseen = (found < 0) & ~value.null
        if self.handle_unseen == "error" and unseen.any():
            raise RowsError(f"{self._unseen} {value.array.filter(unseen)[0]}", unseen)
        other: int | Int64s = UNSEEN
        if self._places:
            place = hashing.reduce(hashing.feature_hash(state["salt"], [value.hash]), self._places)
            other = place + len(state["vocabulary"]) + FIRST
        return as_int32(np.where(value.null, NULL, np.where(unseen, other, found + FIRST)))

    @property
    def _unseen(self) -> str:
        return f"column `{self.input_col}` has a value that was not there at fitting, and `handle_unseen` is `error` (choose `own`, or fit again):"

    def note(self, state: State) -> str:
        """The most frequent values."""
        words = [str(v) for v in state["vocabulary"][:6]]
        return ", ".join(words) + (" …" if len(state["vocabulary"]) > len(words) else "")
