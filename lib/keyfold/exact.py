"""Sums of doubles that do not depend on the order of the rows: 31-bit limbs at fixed powers of two, in 64-bit integers.

A limb is below 2^31, so 2^31 rows fit. Numbers must be below 2^62 in size, and are cut (not rounded) at 2^-62; a square
is first rounded to a double, as any one row's would be. The powers are constants of the contract.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

LIMIT = 2.0**62
SUM = (31, 0, -31, -62)
SQUARES = (93, 62, *SUM)


def with_limbs(frame: "DataFrame", numbers: Mapping[str, tuple["Column", Sequence[int]]]) -> "DataFrame":
    """Adds bigint columns `<name>:<power>`, one for each power of two of each named double column."""
    from pyspark.sql import functions as F

    frame = frame.withColumns({f"{name}:rest": number for name, (number, _) in numbers.items()})
    # One projection a limb: nested in one expression, each limb would double its size.
    for power in SQUARES:
        limbs: dict[str, Column] = {}
        for name, (_, powers) in numbers.items():
            if power in powers:
                rest = F.col(f"`{name}:rest`")
                limb = (rest * F.lit(2.0**-power)).cast("bigint")
                limbs |= {f"{name}:{power}": limb, f"{name}:rest": rest - limb.cast("double") * F.lit(2.0**power)}
        frame = frame.withColumns(limbs) if limbs else frame
    return frame


def sums(name: str, powers: Sequence[int]) -> dict[str, "Column"]:
    """The aggregates, by name, of which `total` makes the sum."""
    from pyspark.sql import functions as F

    return {f"{name}:{power}": F.sum(F.col(f"`{name}:{power}`")) for power in powers}


def total(row: Mapping[str, int | None], name: str, powers: Sequence[int]) -> Fraction:
    """The exact sum, of the sums of the limbs."""
    return sum(((row[f"{name}:{power}"] or 0) * Fraction(2) ** power for power in powers), Fraction(0))
