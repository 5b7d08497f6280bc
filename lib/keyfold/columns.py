"""What a column holds, found block by block, without Spark and within bounded memory."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

ENOUGH = 1 << 16  # different values that are kept of a column
CLASSES = 1_000  # different values that are counted of a column
OTHER = "nested or binary"

Block = dict[str, pa.Array]

_NUMBER = r"-?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OFFSET = "Z|[-+][0-9]{2}:?[0-9]{2}"
# Spark takes a zone after seconds only.
_CLOCK = rf"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{{1,6}})?({_OFFSET})?)?"
# From the narrowest type to the widest. No plus sign and no leading zero: those are telephone numbers and codes.
PATTERNS = {
    "boolean": "(?i)true|false",
    "bigint": "-?(0|[1-9][0-9]{0,18})",
    "double": _NUMBER,
    "date": _DAY,
    "timestamp": f"{_DAY}[ T]{_CLOCK}",
}


@dataclass
class Column:
    """What is known of one column so far."""

    name: str
    present: int = 0  # values that are not missing
    words: int = 0
    can: set[str] = field(default_factory=lambda: {*PATTERNS, "string", OTHER})
    distinct: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    share: float = 1.0  # of the values, how many are different (of those before `distinct` was full)
    counts: Counter[str] = field(default_factory=Counter)
    wall: bool = False  # some times have no offset

    @property
    def type(self) -> str:
        """A Spark SQL type name, or `OTHER`; `string` where all is missing."""
        if not self.present:
            return "string"
        return next((kind for kind in (*PATTERNS, "string") if kind in self.can), OTHER)

    def add(self, values: pa.Array, castable: frozenset[str]) -> None:
        """Take in a block's values; `castable`: what text may turn out to be."""
        values = _present(values)
        self.present += len(values)
        if not len(values):
            return
        self.can &= _possible(values, castable & self.can)
        if self.type == "timestamp":
            self.wall |= not pc.all(pc.match_substring_regex(values.cast(pa.string()), f"({_OFFSET})[ \\t]*$")).as_py()
        if self.type != OTHER:
            self._add_texts(values.cast(pa.string()))

    def _add_texts(self, texts: pa.Array) -> None:
        self.words += len(texts) + pc.sum(pc.count_substring(texts, " ")).as_py()
        if len(self.counts) <= CLASSES:
            self.counts.update({v["values"]: v["counts"] for v in pc.value_counts(texts).to_pylist()})
        if len(self.distinct) <= ENOUGH:
            self.distinct = pc.unique(pa.concat_arrays([self.distinct, texts]))
            self.share = len(self.distinct) / self.present

    def strays(self) -> list[str]:
        """The one, two or three words that alone keep a column of numbers from being one."""
        texts = pc.ascii_trim_whitespace(self.distinct)
        odd = texts.filter(pc.invert(_matches(texts, "double")))
        few = self.type == "string" and 0 < len(odd) <= 3 and len(texts) >= 10 * len(odd)
        return odd.to_pylist() if few else []

    def span(self) -> int:
        """For whole numbers: highest less lowest of the different values that are kept, plus one."""
        low_high = pc.min_max(pc.ascii_trim_whitespace(self.distinct).cast(pa.int64())).as_py()
        return int(low_high["max"] - low_high["min"] + 1)


class Keys:
    """Which keys are missing or repeated, by 64-bit hashes: 8 bytes a row and period."""

    def __init__(self, key: list[str], time: str | None) -> None:
        self.key, self.time = key, time
        self.missing = 0
        self._hashes: dict[str, list[npt.NDArray[np.uint64]]] = {p: [] for p in (PERIODS if time else ("all",))}

    def add(self, block: Block) -> None:
        """Take in a block's keys."""
        rows = len(next(iter(block.values()), ()))
        none = pa.nulls(rows, pa.string())
        texts = {n: block.get(n, none).cast(pa.string()) for n in [*self.key, *([self.time] if self.time else [])]}
        frame = pd.DataFrame({i: texts[n].to_pandas() for i, n in enumerate(texts)}).dropna()
        self.missing += rows - len(frame)
        for period, hashes in self._hashes.items():
            if self.time:
                frame[len(texts) - 1] = frame[len(texts) - 1].str.strip().str[: PERIODS[period]]
            hashes.append(np.asarray(pd.util.hash_pandas_object(frame, index=False), np.uint64))

    def repeated(self) -> dict[str, int]:
        """By period, finest first (`all` without a time): how many keys stand more than once."""
        return {period: self._repeats(hashes) for period, hashes in self._hashes.items()}

    def _repeats(self, hashes: list[npt.NDArray[np.uint64]]) -> int:
        return int((np.unique(np.concatenate(hashes), return_counts=True)[1] > 1).sum())


PERIODS = {"day": 10, "month": 7}  # so many characters of an ISO time


def _present(values: pa.Array) -> pa.Array:
    values = values.drop_null()
    return values.filter(pc.invert(pc.is_nan(values))) if pa.types.is_floating(values.type) else values


def _possible(values: pa.Array, castable: frozenset[str]) -> set[str]:
    """The types that hold every one of these values."""
    t, kind = pa.types, values.type
    kind = kind.value_type if t.is_dictionary(kind) else kind
    if t.is_string(kind) or t.is_large_string(kind):
        texts = pc.unique(pc.ascii_trim_whitespace(values.cast(pa.string())))
        return {name for name in castable if name in PATTERNS and _fits(texts, name)} | {"string"}
    tests = {
        t.is_boolean: {"boolean", "string"},
        t.is_integer: {"bigint", "double", "string"},
        t.is_floating: {"double", "string"},
        t.is_decimal: {"double", "string"},
        t.is_date: {"date"},
        t.is_timestamp: {"timestamp"},
    }
    return next((kinds for test, kinds in tests.items() if test(kind)), {OTHER})


def _matches(texts: pa.Array, kind: str) -> pa.Array:
    return pc.match_substring_regex(texts, f"^({PATTERNS[kind]})$")


def _fits(texts: pa.Array, kind: str) -> bool:
    if not pc.all(_matches(texts, kind)).as_py():
        return False
    try:
        if kind == "bigint":
            texts.cast(pa.int64())
        elif kind in ("date", "timestamp"):
            pc.utf8_slice_codeunits(texts, 0, 10).cast(pa.date32())
    except pa.ArrowInvalid:  # beyond 64 bits, or no day of the calendar
        return False
    return True
