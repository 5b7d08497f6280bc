"""Exact sums of doubles and of their squares, independent of the order, offset and unit of the numbers.

Every finite double is an integer times a power of two, and so is its square. `limb_sums` adds these integers exactly and writes the
totals as limbs: integers below 2^31 in size, at powers of two that are multiples of 31. Limbs of parts add up to the limbs of the
whole, and 2^32 parts fit into 64 bits. The powers never change.
"""

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from keyfold.core.arrays import Doubles, Int64s

_LIMB = 31
_UNIT = 73 * _LIMB  # sums are integers times 2^-2263; the last bit of the square of the smallest double is at 2^-2148
_ROWS = 1 << 16  # at a time, to stay in the processor's cache
_LOW = (1 << 18) - 1


def limb_sums(x: Doubles) -> dict[str, int]:
    """Limbs of the sum of finite numbers (`x:<power>`) and of the sum of their squares (`xx:<power>`)."""
    plain = squares = 0
    for start in range(0, len(x), _ROWS):
        part = _sums(x[start : start + _ROWS])
        plain, squares = plain + part[0], squares + part[1]
    return _limbs("x", plain) | _limbs("xx", squares)


def _sums(x: Doubles) -> tuple[int, int]:
    """The two sums as multiples of 2^-_UNIT."""
    share, power = np.frexp(x)
    whole = (share * 2.0**53).astype(np.int64)  # x = whole * 2^(power - 53)
    order = np.argsort(power.astype(np.int16), kind="stable")
    power, whole = power[order], whole[order]
    starts = np.flatnonzero(np.diff(power, prepend=power[0] - 1))
    powers = (power[starts] - 53).tolist()
    # Three parts of 18 bits, the first with the sign: sums of their products fit into 64 bits.
    a, b, c = whole >> 36, (whole >> 18) & _LOW, whole & _LOW
    parts = {36: a, 18: b, 0: c}
    products = {72: a * a, 54: 2 * a * b, 36: 2 * a * c + b * b, 18: 2 * b * c, 0: c * c}
    return _added(parts, starts, powers), _added(products, starts, [2 * p for p in powers])


def _added(parts: Mapping[int, Int64s], starts: Int64s, powers: list[int]) -> int:
    """The sum of integers, each times 2^(its power + the shift of its part)."""
    total = 0
    for shift, part in parts.items():
        for amount, power in zip(np.add.reduceat(part, starts).tolist(), powers, strict=True):
            total += amount << (power + shift + _UNIT)
    return total


def _limbs(name: str, total: int) -> dict[str, int]:
    sign, rest, power = (-1 if total < 0 else 1), abs(total), -_UNIT
    limbs: dict[str, int] = {}
    while rest:
        if limb := rest & ((1 << _LIMB) - 1):
            limbs[f"{name}:{power}"] = sign * limb
        rest, power = rest >> _LIMB, power + _LIMB
    return limbs


def exact_total(amounts: Mapping[str, int], name: str) -> Fraction:
    """The exact sum from the limbs `name:<power>`."""
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
    root = math.isqrt(whole)
    # One more bit for the remainder, so that the double is rounded as the exact root would be.
    cut = rest > 0 or root * root < whole
    return float(Fraction(2 * root + cut) / Fraction(2) ** (shift + 1))
