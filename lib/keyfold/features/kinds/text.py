"""Words or characters of a text and their n-grams, hashed or looked up in a fitted vocabulary.

Lower case is defined by `LOWER`, a table of Latin, Greek, Cyrillic and Armenian letters. It is part of the contract, because
engines have different versions of Unicode. A word is a run of characters that are not in `SEPARATORS`.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from keyfold.core import hashing, sql, vocabulary
from keyfold.core.types import ArrowValue, SqlValue
from keyfold.features.fitting import CountedExpression, FeatureStatistics, FitInput, Target, rank_values
from keyfold.features.kind import Array, FeatureOutput, Kind, State, as_int32, bucket_of, salt_of, sql_bucket

# (first capital, last capital, step between capitals, distance to the small letter)
_CASES = (
    (0x41, 0x5A, 1, 32), (0xC0, 0xD6, 1, 32), (0xD8, 0xDE, 1, 32), (0x100, 0x12E, 2, 1), (0x132, 0x136, 2, 1),
    (0x139, 0x147, 2, 1), (0x14A, 0x176, 2, 1), (0x179, 0x17D, 2, 1), (0x391, 0x3A1, 1, 32), (0x3A3, 0x3AB, 1, 32),
    (0x400, 0x40F, 1, 80), (0x410, 0x42F, 1, 32), (0x460, 0x480, 2, 1), (0x48A, 0x4BE, 2, 1), (0x4D0, 0x52E, 2, 1),
    (0x531, 0x556, 1, 48), (0x1E00, 0x1E94, 2, 1), (0x1EA0, 0x1EFE, 2, 1),
)  # fmt: skip
LOWER = {chr(c): chr(c + by) for first, last, step, by in _CASES for c in range(first, last + 1, step)}
_TABLE = str.maketrans(LOWER)
SEPARATORS = "\x00-\x2f:-@\\[-`{-\xbf\u2000-\u206f\u3000-\u303f"
WORD, CHARACTER = f"[^{SEPARATORS}]+", "[^\x00-\x20]"
NULL, UNSEEN, FIRST = 0, 1, 2


@dataclass(frozen=True)
class Tokens:
    """Splits a text into tokens. Its repr is part of the names of statistics, so it must not change."""

    unit: Literal["words", "characters"]
    lower: bool
    ngrams: int

    def __call__(self, text: str) -> list[str]:
        """Tokens in the order of the text, then n-grams by size."""
        tokens = re.findall(self.pattern, text.translate(_TABLE) if self.lower else text)
        sizes = range(2, self.ngrams + 1)
        return tokens + [self.separator.join(tokens[i : i + n]) for n in sizes for i in range(len(tokens) - n + 1)]

    @property
    def pattern(self) -> str:
        """Regular expression of a token."""
        return WORD if self.unit == "words" else CHARACTER

    @property
    def separator(self) -> str:
        """Text between the tokens of an n-gram."""
        return " " if self.unit == "words" else ""


@dataclass(frozen=True)
class Documents:
    """The different tokens of a text, and one empty text, whose count is that of the texts. Its repr must not change, either."""

    tokens: Tokens

    def __call__(self, text: str) -> list[str]:
        """The empty text first."""
        return ["", *dict.fromkeys(self.tokens(text))]


class Text(Kind):
    """The words or characters of a text and their n-grams, as indices.

    With `num_buckets`, tokens are hashed to [1, num_buckets). With `max_tokens`, index 2 is the most frequent token of the train
    fold, 3 the next; ties are ordered by UTF-8 bytes.

    Output: with `length`, a sequence that is cut or padded with 0; int32 of shape (rows, length). Without, a bag of all tokens in
    the order of the text, n-grams last; an Arrow list of int32 per row, which a sparse matrix counts. With the weights `tfidf`, the
    matrix has the count times ln((1 + n) / (1 + n of the token)) + 1, where n are the texts of the train fold that are not NULL, and
    each row's values have the Euclidean norm 1; tokens beyond the vocabulary have the weight 0.
    NULL: like a text without tokens, an empty bag or a sequence of padding.
    Unseen values: index 1, like tokens rarer than `min_frequency` or beyond `max_tokens`; a hashed token always has a bucket.
    Errors: DataError for a column that is not text.
    """

    takes: ClassVar = ("string",)
    salt_prefix: ClassVar = "text"

    input_col: str = Field(description="name of a column of texts", examples=["comment"])
    tokens: Literal["words", "characters"] = Field("words", description="unit of a text")
    lower: bool = Field(True, description="convert to lower case first")
    ngrams: int = Field(1, ge=1, le=5, description="maximum number of consecutive tokens that form one more token; 1: none")
    num_buckets: int | None = Field(
        None, ge=2, le=hashing.MAX_BUCKETS, description="hash tokens to so many buckets, including bucket 0 for padding"
    )
    max_tokens: int | None = Field(None, ge=1, description="fit a vocabulary of so many tokens, the most frequent ones")
    min_frequency: int = Field(1, ge=1, description="occurrences in the train fold that a token of the vocabulary needs")
    length: int | None = Field(None, ge=1, le=100_000, description="length of the sequence; default: a bag of any length")
    weights: Literal["counts", "tfidf"] = Field(
        "counts",
        exclude_if=lambda weights: weights == "counts",  # models of before there were weights have no such field
        description="a token's value in a bag: its count, or `tfidf`, which is lower for tokens of many texts; for `max_tokens`",
    )

    @model_validator(mode="after")
    def _check_one_option(self) -> "Text":
        if (self.num_buckets is None) == (self.max_tokens is None):
            raise ValueError("must have either `num_buckets` (hashed) or `max_tokens` (a vocabulary)")
        if self.weights == "tfidf" and (self.num_buckets or self.length):
            raise ValueError(
                f"`weights` are of a bag of a vocabulary; leave out `{'num_buckets' if self.num_buckets else 'length'}`"
            )
        return self

    def counted_expressions(self, values: Sequence[FitInput], target: Target | None) -> list[CountedExpression]:
        """The tokens, for a vocabulary, and the texts that have them, for weights."""
        parts = [self._tokens] * (self.max_tokens is not None) + [Documents(self._tokens)] * (self.weights == "tfidf")
        return [CountedExpression.values(values[0], of) for of in parts]

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps the salt, or the vocabulary and its weights."""
        if self.num_buckets:
            return {"salt": salt_of(self, name, None)}
        words = rank_values(statistics.counts[0], self.min_frequency, self.max_tokens)
        weights = {} if self.weights == "counts" else {"idf": _inverse_frequencies(words, statistics.counts[1])}
        return {"vocabulary": words} | weights

    def output(self, state: State) -> FeatureOutput:
        """A sequence or a bag of indices."""
        weights = np.array([0.0] * FIRST + state["idf"]) if "idf" in state else None
        return FeatureOutput("int", self.num_buckets or len(state["vocabulary"]) + FIRST, self.length, weights=weights)

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """array<int>"""
        token = hashing.sql_value_hash("g")
        if self.num_buckets:
            index = sql_bucket(state["salt"], [token], self.num_buckets)
        else:
            index = f"coalesce({vocabulary.sql_lookup(token, state['vocabulary'])} + {FIRST}, {UNSEEN})"
        indices = f"transform({self._sql_grams(values[0])}, g -> {index})"
        if self.length:
            indices = f"slice(concat({indices}, array_repeat({NULL}, {self.length})), 1, {self.length})"
        return indices

    def words(self, texts: pa.Array) -> pa.ListArray:
        """The tokens and n-grams of each text; NULL has none."""
        encoded = texts.fill_null("").dictionary_encode()
        grams = [self._tokens(text) for text in encoded.dictionary.to_pylist()]
        return pa.array(grams, pa.list_(pa.string())).take(encoded.indices)

    def _sql_grams(self, value: SqlValue) -> str:
        text = f"coalesce({value.canonical}, '')"
        if self.lower:
            text = f"translate({text}, {sql.text_literal(''.join(LOWER))}, {sql.text_literal(''.join(LOWER.values()))})"
        tokens = f"regexp_extract_all({text}, {sql.text_literal(self._tokens.pattern)}, 0)"
        if self.ngrams == 1:
            return tokens
        longer = (
            f"IF(size(t) < {n}, CAST(array() AS array<string>), "
            f"transform(sequence(1, greatest(1, size(t) - {n - 1})), i -> array_join(slice(t, i, {n}), {sql.text_literal(self._tokens.separator)})))"
            for n in range(2, self.ngrams + 1)
        )
        return f"flatten(transform(array({tokens}), t -> concat(t, {', '.join(longer)})))"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32 of shape (rows, length), or an Arrow list of int32 per row"""
        encoded = values[0].array.fill_null("").dictionary_encode()
        grams = [self._tokens(text) for text in encoded.dictionary.to_pylist()]
        starts = np.concatenate([[0], np.cumsum([len(g) for g in grams])]).astype(np.int32)
        hashes = hashing.value_hash(pa.array(list(itertools.chain.from_iterable(grams)), pa.string()))
        if self.num_buckets:
            indices = bucket_of(state["salt"], [hashes], self.num_buckets)
        else:
            places = vocabulary.lookup(hashes, state["vocabulary"])
            indices = as_int32(np.where(places < 0, UNSEEN, places + FIRST))
        rows = encoded.indices.to_numpy(zero_copy_only=False)
        if self.length is None:
            return pa.ListArray.from_arrays(pa.array(starts), pa.array(indices)).take(pa.array(rows))
        padded = np.full((len(grams), self.length), NULL, np.int32)
        for i, (start, end) in enumerate(itertools.pairwise(starts)):
            sequence = indices[start : min(end, start + self.length)]
            padded[i, : len(sequence)] = sequence
        return padded[rows]

    @property
    def _tokens(self) -> Tokens:
        return Tokens(self.tokens, self.lower, self.ngrams)

    def note(self, state: State) -> str:
        """The most frequent tokens, or the salt."""
        return f"salt {state['salt']}" if self.num_buckets else ", ".join(state["vocabulary"][:8])


def _inverse_frequencies(words: Sequence[str], documents: pa.Table) -> list[float]:
    """Weights of words by the number of texts with each of them; those of texts without words are in the empty text."""
    texts_of: dict[str, int] = dict(zip(*documents.to_pydict().values(), strict=True))
    texts = texts_of.get("", 0)

    @cache
    def weight(n: int) -> float:
        # Decimal, whose logarithm has the same bits on every machine.
        return float(Decimal(1 + texts).ln() - Decimal(1 + n).ln()) + 1

    return [weight(texts_of[word]) for word in words]
