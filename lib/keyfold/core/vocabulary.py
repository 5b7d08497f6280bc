"""Lookup of values in a vocabulary by their value hashes, in SQL and in NumPy."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa

from keyfold.core import sql
from keyfold.core.arrays import Int64s
from keyfold.core.digests import canonical_json
from keyfold.core.hashing import value_hash

_LOW = 0xFFFFFFFF


def has_distinct_hashes(vocabulary: Sequence[str | int]) -> bool:
    """Whether no two values share a hash."""
    return len(set(hashes_of(vocabulary))) == len(vocabulary)


def hashes_of(vocabulary: Sequence[str | int]) -> list[int]:
    """The value hashes of canonical values (all text or all integers)."""
    type_ = pa.int64() if vocabulary and isinstance(vocabulary[0], int) else pa.string()
    return value_hash(pa.array(vocabulary, type_)).tolist()  # type: ignore[no-any-return]


def lookup(hashes: Int64s, vocabulary: Sequence[str | int]) -> Int64s:
    """The index of each hash in the vocabulary; -1 if it is not in it."""
    known, places = _sorted(tuple(vocabulary))
    if not len(known):
        return np.full(len(hashes), -1)
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.where(known[at] == hashes, places[at], -1)


def sql_lookup(hashes: str, vocabulary: Sequence[str | int]) -> str:
    """int: the index of a hash in the vocabulary; NULL if it is not in it."""
    if not vocabulary:
        return "CAST(NULL AS INT)"
    keys, places = _cuckoo(tuple(vocabulary))
    # Constant folding parses this once, when Spark plans. A literal of a million nodes could not be planned.
    known = f"from_json({sql.text_literal(canonical_json(keys))}, 'array<bigint>')"
    index = f"from_json({sql.text_literal(canonical_json(places))}, 'array<int>')"
    low = f"({hashes} & {sql.bigint_literal(_LOW)})"
    slots = (
        f"CAST(shiftrightunsigned({half} * {sql.bigint_literal(len(keys))}, 32) AS INT)"
        for half in (f"shiftrightunsigned({hashes}, 32)", low)
    )
    cases = (f"CASE WHEN get({known}, {slot}) = {hashes} THEN get({index}, {slot}) END" for slot in slots)
    return f"coalesce({', '.join(cases)})"


@lru_cache(maxsize=256)
def _sorted(vocabulary: tuple[str | int, ...]) -> tuple[Int64s, Int64s]:
    hashes = np.array(hashes_of(vocabulary), np.int64)
    order = np.argsort(hashes)
    return hashes[order], order


@lru_cache(maxsize=256)
def _cuckoo(vocabulary: tuple[str | int, ...]) -> tuple[list[int | None], list[int | None]]:
    """A cuckoo table: hashes and their indices, each in one of its two slots."""
    hashes = hashes_of(vocabulary)
    size = 2 * len(hashes) + 1
    while (table := _placed(hashes, size)) is None:
        size += size // 2 + 1
    return [None if i is None else hashes[i] for i in table], table


def _placed(hashes: Sequence[int], size: int) -> list[int | None] | None:
    table: list[int | None] = [None] * size
    for start in range(len(hashes)):
        item, slot = start, _slots(hashes[start], size)[0]
        for _ in range(500):
            item, table[slot] = table[slot], item  # type: ignore[assignment]
            if item is None:
                break
            first, second = _slots(hashes[item], size)
            slot = second if slot == first else first
        else:
            return None
    return table


def _slots(value: int, size: int) -> tuple[int, int]:
    unsigned = value & 0xFFFFFFFFFFFFFFFF
    return ((unsigned >> 32) * size) >> 32, ((unsigned & _LOW) * size) >> 32
