"""Exact sums of doubles and of their squares, whatever the order, the offset and the unit of the numbers.

Every finite double is an integer times a power of two, and so is its square. `sums` adds those integers exactly and writes the
totals as limbs: integers below 2^31 in size, at multiples of 31 as powers of two. Limbs of several parts add up to those of the
whole, and 2^32 parts fit into 64 bits. The powers are constants of the contract.
"""

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from keyfold.core.arrays import Doubles, Int64s

_LIMB = 31
_UNIT = 73 * _LIMB  # sums are integers times 2^-2263; the last bit of the square of the smallest double is at 2^-2148
_ROWS = 1 << 16  # at a time: what stays in a processor's cache
_LOW = (1 << 18) - 1


def limb_sums(x: Doubles) -> dict[str, int]:
    """The limbs of the sums of finite numbers (`x:<power>`) and of their squares (`xx:<power>`)."""
    plain = squares = 0
    for start in range(0, len(x), _ROWS):
        some = _sums(x[start : start + _ROWS])
        plain, squares = plain + some[0], squares + some[1]
    return _limbs("x", plain) | _limbs("xx", squares)


def _sums(x: Doubles) -> tuple[int, int]:
    """The two sums as multiples of 2^-_UNIT."""
    share, power = np.frexp(x)
    whole = (share * 2.0**53).astype(np.int64)  # x is this, times 2^(power - 53)
    order = np.argsort(power.astype(np.int16), kind="stable")
    power, whole = power[order], whole[order]
    starts = np.flatnonzero(np.diff(power, prepend=power[0] - 1))
    powers = (power[starts] - 53).tolist()
    # Three parts of 18 bits, of which the first has the sign: sums of their products fit into 64 bits.
    a, b, c = whole >> 36, (whole >> 18) & _LOW, whole & _LOW
    parts = {36: a, 18: b, 0: c}
    products = {72: a * a, 54: 2 * a * b, 36: 2 * a * c + b * b, 18: 2 * b * c, 0: c * c}
    return _added(parts, starts, powers), _added(products, starts, [2 * p for p in powers])


def _added(parts: Mapping[int, Int64s], starts: Int64s, powers: list[int]) -> int:
    """The sum of integers, each times two to its own power and to that of its part."""
    total = 0
    for shift, part in parts.items():
        for found, power in zip(np.add.reduceat(part, starts).tolist(), powers, strict=True):
            total += found << (power + shift + _UNIT)
    return total


def _limbs(name: str, total: int) -> dict[str, int]:
    sign, rest, power, found = (-1 if total < 0 else 1), abs(total), -_UNIT, {}
    while rest:
        if limb := rest & ((1 << _LIMB) - 1):
            found[f"{name}:{power}"] = sign * limb
        rest, power = rest >> _LIMB, power + _LIMB
    return found


def exact_total(amounts: Mapping[str, int], name: str) -> Fraction:
    """The exact sum of limbs, by their names."""
    whole = 0
    for key, amount in amounts.items():
        of, _, power = key.partition(":")
        if of == name:
            whole += amount << (int(power) + _UNIT)
    return Fraction(whole, 1 << _UNIT)


def rounded_sqrt(square: Fraction) -> float:
    """The square root, correctly rounded to a double."""
    p, q = square.as_integer_ratio()
    if not p:
        return 0.0
    shift = 65 + (q.bit_length() - p.bit_length()) // 2  # the root then has more than 64 bits
    whole, rest = divmod(p << max(0, 2 * shift), q << max(0, -2 * shift))
    found = math.isqrt(whole)
    # One more bit for what is cut off, so that the double is rounded as of the root itself.
    cut = rest > 0 or found * found < whole
    return float(Fraction(2 * found + cut) / Fraction(2) ** (shift + 1))
