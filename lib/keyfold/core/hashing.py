"""The hash contract, version 1: one hash for buckets, folds and release shares, in Catalyst and in NumPy.

    value hash      v = xxhash64(canonical value)          seed 42, Spark's default; NULL gives 42
    feature hash    h = xxhash64(v of the salt, v1, v2, …) order matters, no separator can collide; all are 64-bit integers,
                                                           since a text salt would be hashed again for each row
    reduction       reduce(h, n) = ((h >>> 32) * n) >>> 32, for n up to 2^31 - 1

A change makes a new version. Each function has two forms that give the same integers: `sql_*` for SQL expressions, the other for
NumPy arrays of int64.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from keyfold.core import sql
from keyfold.core.arrays import Int64s

CONTRACT = 1
PARTS = 1_000_000  # folds and release shares are millionths
MAX_BUCKETS = 2**31 - 1
NULL_HASH = 42
_SEED = 42
_FIRST = np.uint64(_SEED)
_LONG = 32  # bytes; from here on xxhash64 uses four lanes
_WIDE, _LONG_DIGITS = 64, 18  # bits of an integer, and digits of a decimal that fits into it
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(p) for p in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
)


def sql_value_hash(canonical: str) -> str:
    """bigint: the value hash of text or bigint."""
    return f"xxhash64({canonical})"


def value_hash(canonical: pa.Array) -> Int64s:
    """The value hashes of an Arrow array of text or int64; NULL gives 42."""
    if pa.types.is_null(canonical.type):
        return np.full(len(canonical), NULL_HASH, np.int64)
    if pa.types.is_int64(canonical.type):
        hashes = _hash_long(_numpy(canonical.fill_null(0)), np.uint64(_SEED))
    else:
        hashes = _texts(canonical.cast(pa.large_binary()))
    if canonical.null_count:
        hashes = np.where(_numpy(canonical.is_null()), np.int64(NULL_HASH), hashes)
    return hashes


def chained_hash(columns: Sequence[pa.Array]) -> Int64s:
    """Spark's `xxhash64` of several columns of text, bytes, int64 or int32: the hash of each is the seed of the next, NULL changes nothing."""
    seed: Any = np.full(len(columns[0]), _SEED, np.uint64)
    for column in columns:
        if pa.types.is_int64(column.type):
            hashes = _hash_long(_numpy(column.fill_null(0)), seed)
        elif pa.types.is_int32(column.type):
            hashes = _hash_int(_numpy(column.fill_null(0)), seed)
        else:
            hashes = _texts(column.cast(pa.large_binary()), seed)
        hashed = hashes.view(np.uint64)
        seed = np.where(_numpy(column.is_null()), seed, hashed) if column.null_count else hashed
    return seed.view(np.int64)  # type: ignore[no-any-return]


def hashed_cells(array: pa.Array) -> pa.Array:
    """The input of Spark's `xxhash64` for a column of numbers, text, bytes, times or booleans: int64, int32, text or bytes."""
    t = pa.types
    if t.is_floating(array.type):
        return _float_cells(array)
    if t.is_decimal(array.type):
        return _decimal_cells(array)
    if t.is_boolean(array.type) or t.is_date32(array.type) or (t.is_integer(array.type) and array.type.bit_width < _WIDE):
        return array.cast(pa.int32())
    return array.cast(pa.int64()) if t.is_integer(array.type) or t.is_timestamp(array.type) else array


def _float_cells(array: pa.Array) -> pa.Array:
    """The bits of floats; -0.0 becomes 0.0, and all NaNs have the same bits."""
    x = _numpy(array.fill_null(0)) + 0
    x = np.where(np.isnan(x), x.dtype.type(np.nan), x)
    missing = _numpy(array.is_null())
    if array.type == pa.float64():
        return pa.array(x.view(np.int64), mask=missing)
    return pa.array(x.view(np.int32), mask=missing)


def _decimal_cells(array: pa.Array) -> pa.Array:
    """The unscaled digits: int64, or bytes for a type of more than 18 digits."""
    digits, missing = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2), _numpy(array.is_null())
    digits = digits[array.offset : array.offset + len(array)]
    if array.type.precision <= _LONG_DIGITS:
        return pa.array(digits[:, 0], mask=missing)
    whole = [low % 2**64 + high * 2**64 for low, high in digits.tolist()]
    texts = [n.to_bytes(max(n, ~n).bit_length() // 8 + 1, "big", signed=True) for n in whole]
    return pa.array(texts, pa.large_binary(), mask=missing)


@lru_cache(maxsize=4096)
def text_hash(text: str) -> int:
    """The value hash of one text, as a signed 64-bit integer."""
    return int(_long_texts([text.encode()])[0])


def sql_feature_hash(salt: str, values: Sequence[str]) -> str:
    """bigint: the hash of a salt and of value hashes."""
    return f"xxhash64({sql.bigint_literal(text_hash(salt))}, {', '.join(values)})"


def feature_hash(salt: str, values: Sequence[Int64s]) -> Int64s:
    """The hash of a salt and of arrays of value hashes (all of one length, at least one array)."""
    seed: Any = np.uint64(_SEED)
    for value in (np.array([text_hash(salt)]), *values):
        seed = _hash_long(value, seed).view(np.uint64)
    return seed.view(np.int64)  # type: ignore[no-any-return]


def sql_reduce(hashes: str, n: int) -> str:
    """bigint in [0, n)."""
    return f"shiftrightunsigned(shiftrightunsigned({hashes}, 32) * {sql.bigint_literal(n)}, 32)"


def reduce(hashes: Int64s, n: int) -> Int64s:
    """int64 in [0, n)."""
    wide = hashes.view(np.uint64) >> np.uint64(32)
    return ((wide * np.uint64(n)) >> np.uint64(32)).view(np.int64)


def sql_canonical(column: str, family: str) -> str:
    """Text or bigint: the canonical value of a column of a type family (see `keyfold.core.types`)."""
    match family:
        case "string":
            return f"collate({column}, 'UTF8_BINARY')"
        case "bigint" | "boolean":
            return f"CAST({column} AS BIGINT)"
        case "date":
            return f"CAST(unix_date({column}) AS BIGINT)"
        case "timestamp":
            return f"unix_micros({column})"
        case "timestamp_ntz":
            return f"unix_micros(CAST(convert_timezone('UTC', 'UTC', {column}) AS TIMESTAMP))"
    # Not a cast, which writes 1E-10 when ANSI mode is off; no arithmetic, which loses digits of the widest decimals.
    plain = f"replace(format_number({column}, 38), ',', '')"
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {plain}))"


def canonical_values(array: pa.Array, family: str) -> pa.Array:
    """Text or int64: the canonical values of an Arrow array of a type family."""
    match family:
        case "string":
            return array
        case "bigint" | "boolean":
            return array.cast(pa.int64())
        case "date":
            return array.cast(pa.int32()).cast(pa.int64())
        case "timestamp" | "timestamp_ntz":
            return array.cast(pa.int64())
    encoded = array.dictionary_encode()
    texts = pa.array([None if d is None else decimal_text(d) for d in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def decimal_text(value: Decimal) -> str:
    """Plain digits without trailing zeros: 1.50 gives 1.5, 1E+2 gives 100, -0.0 gives 0."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _numpy(array: pa.Array) -> Any:
    return array.to_numpy(zero_copy_only=False)


def _texts(texts: pa.LargeBinaryArray, seed: Any = _FIRST) -> Int64s:
    """xxhash64 of byte strings, vectorised over those of one length; arbitrary where NULL. `seed`: one, or one for each text."""
    _, offsets, data = texts.buffers()
    at = np.frombuffer(offsets, np.int64, len(texts) + 1, 8 * texts.offset)
    lengths = np.minimum(np.diff(at), _LONG)
    hashes = np.empty(len(texts), np.int64)
    for length in np.flatnonzero(np.bincount(lengths)).tolist():
        rows = np.flatnonzero(lengths == length)
        if length < _LONG:
            hashes[rows] = _short_texts(data, at[rows], length, seed[rows] if seed.ndim else seed)
        elif seed.ndim:
            hashes[rows] = _long_texts(texts.take(pa.array(rows)).to_pylist(), seed[rows].tolist())
        else:
            encoded = texts.take(pa.array(rows)).dictionary_encode()
            hashes[rows] = _long_texts(encoded.dictionary.to_pylist())[_numpy(encoded.indices)]
    return hashes


def _short_texts(data: pa.Buffer, at: Int64s, length: int, seed: Any) -> Int64s:
    """xxhash64 of the `length` bytes (fewer than 32) that begin at each place."""
    with np.errstate(over="ignore"):
        h = np.full(len(at), seed + _P5 + np.uint64(length), np.uint64)
        while length >= 8:
            h = _lane(_words(data, np.uint64, at), h)
            at, length = at + 8, length - 8
        if length >= 4:
            h = _half_lane(_words(data, np.uint32, at), h)
            at, length = at + 4, length - 4
        for _ in range(length):
            h ^= _words(data, np.uint8, at) * _P5
            h = _rotate(h, 11) * _P1
            at = at + 1
        return _last(h)


def _words(data: pa.Buffer, kind: type[np.unsignedinteger[Any]], at: Int64s) -> npt.NDArray[np.uint64]:
    """The little-endian integers at positions of a buffer."""
    size = np.dtype(kind).itemsize
    every: Any = np.ndarray((data.size - size + 1,), np.dtype(kind).newbyteorder("<"), data, strides=(1,))
    return every[at].astype(np.uint64, copy=False)  # type: ignore[no-any-return]


def _long_texts(texts: Sequence[bytes], seeds: Iterable[int] = repeat(_SEED)) -> Int64s:
    return np.fromiter(map(xxhash.xxh64_intdigest, texts, seeds), np.uint64, len(texts)).view(np.int64)


def _hash_long(values: Int64s, seed: Any) -> Int64s:
    """xxhash64 of 8 bytes, vectorised; `seed` is one uint64, or one for each value."""
    with np.errstate(over="ignore"):
        return _last(_lane(values.view(np.uint64), seed + _P5 + np.uint64(8)))  # one value and many seeds, or the reverse


def _hash_int(values: npt.NDArray[np.int32], seed: Any) -> Int64s:
    """xxhash64 of 4 bytes, vectorised; `seed` as for `_hash_long`."""
    with np.errstate(over="ignore"):
        return _last(_half_lane(values.view(np.uint32).astype(np.uint64), seed + _P5 + np.uint64(4)))


def _half_lane(values: Any, h: Any) -> Any:
    h = h ^ values * _P1
    h = _rotate(h, 23)
    h *= _P2
    h += _P3
    return h


def _lane(values: Any, h: Any) -> Any:
    k = _rotate(values * _P2, 31)
    k *= _P1
    h = k ^ h
    _rotate(h, 27)
    h *= _P1
    h += _P4
    return h


def _last(h: Any) -> Int64s:
    h ^= h >> np.uint64(33)
    h *= _P2
    h ^= h >> np.uint64(29)
    h *= _P3
    h ^= h >> np.uint64(32)
    return h.view(np.int64)  # type: ignore[no-any-return]


def _rotate(x: Any, bits: int) -> Any:
    """Rotates left; in place, because temporaries take most of the time."""
    low = x >> np.uint64(64 - bits)
    x <<= np.uint64(bits)
    x |= low
    return x
