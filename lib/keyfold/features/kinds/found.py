"""What is found in a text: some words, one of some values, or numbers of characters, digits, addresses, sums of money and the like.

It is cheap: a few kernels of Arrow read each text once, where `text` makes a list of its words. The patterns are fixed, so that no
conf can have one that takes forever.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from keyfold.core.arrays import Doubles
from keyfold.core.types import ArrowValue
from keyfold.features.kind import Array, FeatureOutput, Kind, State
from keyfold.features.kinds.text import LOWER, SEPARATORS, WORD

# Of RE2, which takes time proportional to the text.
_PATTERNS = {
    "words": WORD,
    "digits": "[0-9]",
    "capitals": "[A-Z]",
    "shouted": "[A-Z]{3,}",
    "exclamations": "!",
    "urls": "(?:[hH][tT][tT][pP][sS]?://|[wW][wW][wW]\\.)[^ \t\r\n]+",
    "emails": "[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\\.[A-Za-z0-9.-]+",
    "money": "[$£€¥] ?[0-9]|[0-9] ?[$£€¥]",
    "phones": "\\+?[0-9](?:[ ()./-]?[0-9]){6,}",
}
PatternName = Literal["characters", "words", "digits", "capitals", "shouted", "exclamations", "urls", "emails", "money", "phones"]
_CAPITALS = {small: capital for capital, small in LOWER.items()}
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Found(Kind):
    """Whether a text has certain words or is one of certain values, or how often it has certain patterns.

    `words`: 1 if the text has one of them, whole, in capitals or not; several words are found one after the other with the same
    signs between them. `values`: 1 if the whole text is one of them. `patterns`: how often each is found: `characters`, `words`,
    `digits` (0-9), `capitals` (A-Z), `shouted` (three capitals or more), `exclamations` (!), `urls`, `emails`, `money` (a sum with $, £,
    € or ¥), `phones` (seven digits or more, with signs between them).

    Output: a number; float64 of shape (rows,). Several patterns are as many numbers; float64 of shape (rows, patterns).
    NULL: like an empty text.
    Errors: DataError for a column that is not text.
    """

    takes: ClassVar = ("string",)
    has_sql: ClassVar = False

    input_col: str = Field(description="name of a column of texts", examples=["subject"])
    words: list[Word] | None = Field(
        None, min_length=1, max_length=1_000, description="words to find", examples=[["winner", "claim now"]]
    )
    values: list[str] | None = Field(
        None, min_length=1, max_length=100_000, description="whole texts, such as senders", examples=[["news@shop.example"]]
    )
    patterns: list[PatternName] | None = Field(None, min_length=1, description="patterns to count", examples=[["digits", "urls"]])

    @model_validator(mode="after")
    def _has_one_option(self) -> "Found":
        named = [name for name in ("words", "values", "patterns") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"must name one of words, values, patterns (got {' and '.join(named) or 'none'})")
        return self

    def output(self, state: State) -> FeatureOutput:
        """A number, or one for each pattern."""
        return FeatureOutput("double", length=len(self.patterns or [1]))

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float64 of shape (rows,) or (rows, patterns)"""
        text = values[0].array.fill_null("")
        if self.words is not None:
            return _doubles(pc.match_substring_regex(text, _any_word(tuple(self.words))))
        if self.values is not None:
            return _doubles(pc.is_in(text, pa.array(self.values, text.type)))
        columns = [_count(text, name) for name in self.patterns or ()]
        return columns[0] if len(columns) == 1 else np.column_stack(columns)

    def note(self, state: State) -> str:
        """The first of what is found."""
        return ", ".join((self.words or self.values or self.patterns or [])[:8])


@lru_cache(maxsize=100)
def _any_word(words: tuple[str, ...]) -> str:
    """Regular expression of words between separators or the ends of the text."""
    return f"(?:^|[{SEPARATORS}])(?:{'|'.join(map(_either_case, words))})(?:$|[{SEPARATORS}])"


def _either_case(word: str) -> str:
    """Regular expression of a word, in which each letter may be small or capital. Each sign is a class, so none has a meaning."""
    letters = (LOWER.get(letter, letter) for letter in word)
    return "".join(f"[{_escaped(letter)}{_CAPITALS.get(letter, '')}]" for letter in letters)


def _escaped(sign: str) -> str:
    return f"\\{sign}" if sign in "\\]^-[" else sign


def _count(text: pa.Array, name: PatternName) -> Doubles:
    if name == "characters":
        return _doubles(pc.utf8_length(text))
    return _doubles(pc.count_substring_regex(text, _PATTERNS[name]))


def _doubles(column: pa.Array) -> Doubles:
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
