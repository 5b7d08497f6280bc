"""Where a value stands in a vocabulary, found by its value hash: in Catalyst and in NumPy."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from keyfold.digests import canonical
from keyfold.hashing import Int64s, value_hash

if TYPE_CHECKING:
    from pyspark.sql import Column

_LOW = 0xFFFFFFFF


def hashes_of(vocabulary: Sequence[str | int]) -> list[int]:
    """The value hashes of canonical values (all text or all integers)."""
    type_ = pa.int64() if vocabulary and isinstance(vocabulary[0], int) else pa.string()
    return value_hash(pa.array(vocabulary, type_)).tolist()  # type: ignore[no-any-return]


def find(hashes: Int64s, vocabulary: Sequence[str | int]) -> Int64s:
    """The place of each hash in the vocabulary; -1 where it has none."""
    known, places = _sorted(tuple(vocabulary))
    if not len(known):
        return np.full(len(hashes), -1)
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.where(known[at] == hashes, places[at], -1)


def spark_find(hashes: "Column", vocabulary: Sequence[str | int]) -> "Column":
    """int: the place of a hash in the vocabulary; NULL where it has none."""
    from pyspark.sql import functions as F

    if not vocabulary:
        return F.lit(None).cast("int")
    keys, places = _cuckoo(tuple(vocabulary))
    size = F.lit(len(keys)).cast("bigint")
    # Parsed once, when the plan is made: constants fold. A literal of a million nodes would not plan.
    known = F.from_json(F.lit(canonical(keys)), "array<bigint>")
    index = F.from_json(F.lit(canonical(places)), "array<int>")
    slots = (
        F.shiftrightunsigned(F.shiftrightunsigned(hashes, 32) * size, 32).cast("int"),
        F.shiftrightunsigned(hashes.bitwiseAND(F.lit(_LOW)) * size, 32).cast("int"),
    )
    first, second = (F.when(F.get(known, slot) == hashes, F.get(index, slot)) for slot in slots)
    return F.coalesce(first, second)


@lru_cache(maxsize=256)
def _sorted(vocabulary: tuple[str | int, ...]) -> tuple[Int64s, Int64s]:
    hashes = np.array(hashes_of(vocabulary), np.int64)
    order = np.argsort(hashes)
    return hashes[order], order


@lru_cache(maxsize=256)
def _cuckoo(vocabulary: tuple[str | int, ...]) -> tuple[list[int | None], list[int | None]]:
    """Two arrays in which each hash stands in one of its two slots."""
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
