"""Index of a category in a fitted vocabulary, as one column per category in a matrix.

Values are looked up by their 64-bit hash: in Spark in a cuckoo table of two arrays, in NumPy by bisection. Fitting refuses a
vocabulary in which two values share a hash; an unseen value shares one with a chance of 2^-64 per word of the vocabulary.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from keyfold.core import hashing, sql, vocabulary
from keyfold.core.arrays import Int64s
from keyfold.core.section import Section
from keyfold.core.types import HASHED, ArrowValue, SqlValue
from keyfold.errors import RowsError
from keyfold.features.fitting import CountedExpression, FeatureStatistics, FitInput, Target
from keyfold.features.kind import Array, FeatureOutput, Kind, State, as_int32, fit_vocabulary, salt_of

NULL, UNSEEN, FIRST = 0, 1, 2


class HashedUnseen(Section):
    """Unseen values are hashed to indices after the vocabulary."""

    hashed: int = Field(ge=1, le=hashing.MAX_BUCKETS // 2, description="number of indices for unseen values")


class OneHot(Kind):
    """The index of a category in a fitted vocabulary; one column per category in a matrix.

    Index 2 is the most frequent category of the train fold, 3 the next; ties are ordered by UTF-8 bytes.
    Output: one index in [0, size of the vocabulary + 2), plus the indices for hashed unseen values; int32 of shape (rows,).
    NULL: index 0.
    Unseen values: index 1, like categories rarer than `min_frequency` or beyond `max_categories`; see `handle_unseen`.
    Errors: RowsError for an unseen value with `handle_unseen: error`; DataError for a column of floats.
    """

    takes: ClassVar = HASHED
    salt_prefix: ClassVar = "onehot"

    input_col: str = Field(description="name of a column of categories", examples=["city"])
    min_frequency: int = Field(1, ge=1, description="rows of the train fold that a category needs; rarer categories are unseen")
    max_categories: int | None = Field(
        None, ge=1, description="size of the vocabulary: the most frequent categories; the others are unseen"
    )
    handle_unseen: Literal["own", "error"] | HashedUnseen = Field(
        "own", description="own: one index for all unseen values; error: refuse the row; {hashed: n}: n indices, by hash"
    )

    def counted_expressions(self, values: Sequence[FitInput], target: Target | None) -> list[CountedExpression]:
        """The categories."""
        return [CountedExpression.values(values[0])]

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps the vocabulary, as canonical values, and the salt of hashed unseen values."""
        family, (counts,) = statistics.inputs[0]["family"], statistics.counts
        words = fit_vocabulary(name, self.input_col, family, counts, self.min_frequency, self.max_categories)
        return {"vocabulary": words, "salt": salt_of(self, name, None)}

    def output(self, state: State) -> FeatureOutput:
        """One index."""
        return FeatureOutput("int", len(state["vocabulary"]) + FIRST + self._hashed_indices)

    @property
    def _hashed_indices(self) -> int:
        return self.handle_unseen.hashed if isinstance(self.handle_unseen, HashedUnseen) else 0

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int"""
        (value,) = values
        unseen = str(UNSEEN)
        if self.handle_unseen == "error":
            message = f"concat({sql.text_literal(f'keyfold: {self._unseen_message} ')}, CAST({value.column} AS STRING))"
            unseen = f"CAST(raise_error({message}) AS INT)"
        elif self._hashed_indices:
            bucket = hashing.sql_reduce(hashing.sql_feature_hash(state["salt"], [value.hash]), self._hashed_indices)
            unseen = f"CAST({bucket} + {len(state['vocabulary']) + FIRST}L AS INT)"
        place = vocabulary.sql_lookup(value.hash, state["vocabulary"])
        return f"CASE WHEN {value.null} THEN {NULL} ELSE coalesce({place} + {FIRST}, {unseen}) END"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32 of shape (rows,)"""
        (value,) = values
        places = vocabulary.lookup(value.hash, state["vocabulary"])
        unseen = (places < 0) & ~value.null
        if self.handle_unseen == "error" and unseen.any():
            raise RowsError(f"{self._unseen_message} {value.array.filter(unseen)[0]}", unseen)
        unseen_index: int | Int64s = UNSEEN
        if self._hashed_indices:
            bucket = hashing.reduce(hashing.feature_hash(state["salt"], [value.hash]), self._hashed_indices)
            unseen_index = bucket + len(state["vocabulary"]) + FIRST
        return as_int32(np.where(value.null, NULL, np.where(unseen, unseen_index, places + FIRST)))

    @property
    def _unseen_message(self) -> str:
        return f"column `{self.input_col}` has a value that was not there at fitting, and `handle_unseen` is `error` (choose `own`, or fit again):"

    def note(self, state: State) -> str:
        """The most frequent categories."""
        words = [str(v) for v in state["vocabulary"][:6]]
        return ", ".join(words) + (" …" if len(state["vocabulary"]) > len(words) else "")
