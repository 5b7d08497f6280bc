"""Numbers derived from columns of a row, which a feature can take in place of a column: age, difference, ratio, logarithm.

Each has an SQL form and an Arrow form of the same IEEE operations in the same order. Logarithms are those of fdlibm: Spark's `ln` is
Java's StrictMath, which is defined by fdlibm, and NumPy follows the same steps here, because C libraries differ in the last bit.
An undefined number (division by zero, the logarithm of 0 or less) is NULL.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from keyfold.core import sql
from keyfold.core.arrays import Doubles, Int64s
from keyfold.core.section import OneOf
from keyfold.core.types import DAYS, MICROS, NUMBERS, ArrowValue, SqlValue, arrow_cast, arrow_family, require_family

Pair = Annotated[tuple[str, str], Field(examples=[["shipped", "ordered"]])]
_MOST_DAYS = (2**63 - 1) // MICROS["day"]
_UNITS = {"seconds": 1_000_000, "days": MICROS["day"]}
# Hard cases of a logarithm: near 1, near sqrt(2) and sqrt(1/2), the smallest and the largest doubles.
SAMPLES = [
    1.0, 1 - 2**-53, 1 + 2**-52, 1 + 2**-21, 2**0.5, 1.4142135623730951 / 2, 10.0, 5e-324, 2.0**-1022, 1.7976931348623157e308,
]  # fmt: skip


class Derived(OneOf):
    """A derived number: `age`, `difference`, `ratio` or `log`."""

    age: str | None = Field(
        None, examples=["birth_date"], description="Column of a date or time: the days from then until the row's time."
    )
    difference: Pair | None = Field(None, description="Two columns of dates or times [a, b]: a - b in `unit`.")
    ratio: Pair | None = Field(None, description="Two columns of numbers [a, b]: a / b.")
    log: str | None = Field(
        None, examples=["amount"], description="Column of a number: the natural logarithm of it, or of its sum with `plus`."
    )
    at: str | None = Field(None, description="Column of the row's time, for `age` (default: `data.time`).")
    unit: Literal["seconds", "days"] | None = Field(None, description="Unit of `difference` (default: days).")
    plus: float | None = Field(None, allow_inf_nan=False, description="Number added before the logarithm, such as 1 for counts.")

    _choices = ("age", "difference", "ratio", "log")

    @model_validator(mode="after")
    def _options_fit(self) -> "Derived":
        for option, form in (("at", "age"), ("unit", "difference"), ("plus", "log")):
            if getattr(self, option) is not None and self.choice != form:
                raise ValueError(f"`{option}` is for `{form}` (got {self.choice})")
        if self.age and not self.at:
            raise ValueError("`age` needs the row's time: set data.time, or name a column by `at`")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that it reads."""
        match self:
            case Derived(age=str(since), at=str(until)):
                return until, since
            case Derived(log=str(column)):
                return (column,)
        return self.difference or self.ratio or ()

    @property
    def takes(self) -> tuple[str, ...]:
        """The type families that its columns may have."""
        return DAYS if self.age or self.difference else NUMBERS

    def __str__(self) -> str:
        return f"{self.choice} of {', '.join(self.columns)}"

    def check(self, families: Mapping[str, str], where: str) -> None:
        """DataError if a column has another type."""
        for column in self.columns:
            advice = "cast it, or give its type in data.columns"
            require_family(self.takes, families[column], f"{where}: {self}: column `{column}`", advice)

    def sql(self, values: Sequence[SqlValue]) -> SqlValue:
        """The number as SQL, a double."""
        if self.takes == DAYS:
            a, b = map(_sql_micros, values)
            return SqlValue(f"(CAST(try_subtract({a}, {b}) AS DOUBLE) / {sql.double_literal(self._unit)})", "double")
        if self.ratio:
            above, below = (f"({value.number})" for value in values)
            return SqlValue(f"({above} / nullif({below}, 0.0D))", "double")
        return SqlValue(f"ln(({values[0].number}) + {sql.double_literal(self.plus or 0.0)})", "double")

    def arrow(self, values: Sequence[ArrowValue]) -> ArrowValue:
        """The number as Arrow, float64."""
        with np.errstate(all="ignore"):
            if self.takes == DAYS:
                (a, no_a), (b, no_b) = map(_micros, values)
                micros = a - b
                beyond = ((a ^ b) & (a ^ micros)) < 0
                number = np.where(no_a | no_b | beyond, np.nan, micros.astype(np.float64) / self._unit)
            elif self.ratio:
                above, below = (value.number for value in values)
                number = np.where(below == 0, np.nan, above / below)
            else:
                number = _log(values[0].number + (self.plus or 0.0))
        return ArrowValue(pa.array(number), "double")

    def of(self, columns: Mapping[str, pa.Array], where: str) -> pa.Array:
        """The number as float64, from columns by name (DataError if a type does not fit)."""
        families = {name: arrow_family(array.type).replace("null", self.takes[0]) for name, array in columns.items()}
        self.check(families, where)
        return self.arrow([arrow_cast(columns[name], families[name], name) for name in self.columns]).array

    @property
    def _unit(self) -> int:
        return _UNITS[self.unit or "days"]


InputColumn = Annotated[
    str | Derived, Field(description="A column's name, or a number derived from columns: {ratio: [a, b]}, {age: a}, …")
]


def raw_columns(column: str | Derived) -> tuple[str, ...]:
    """The columns of the table that an input reads."""
    return (column,) if isinstance(column, str) else column.columns


def _sql_micros(value: SqlValue) -> str:
    return f"try_multiply({value.canonical}, {MICROS['day']}L)" if value.family == "date" else value.canonical


def _micros(value: ArrowValue) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Microseconds since 1970, and a mask of the missing ones."""
    whole = value.canonical.fill_null(0).to_numpy(zero_copy_only=False)
    if value.family != "date":
        return whole, value.null
    return whole * MICROS["day"], value.null | (np.abs(whole) > _MOST_DAYS)


# --- fdlibm's logarithm: ln(2^k * (1 + f)), where 1 + f is between sqrt(1/2) and sqrt(2) ---

_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_L1, _L2, _L3, _L4, _L5, _L6, _L7 = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip


def _log(x: Doubles) -> Doubles:
    """The natural logarithm; NaN for 0 or less."""
    small = x < 2.0**-1022
    bits = np.where(small, x * 2.0**54, x).view(np.int64)
    high = (bits >> 32) & 0x000FFFFF
    up = (high + 0x95F64) & 0x100000
    k = ((bits >> 52) - 1023 - np.where(small, 54, 0) + (up >> 20)).astype(np.float64)
    f = ((bits & 0x000FFFFFFFFFFFFF) | ((up ^ 0x3FF00000) << 32)).view(np.float64) - 1.0
    near = (0x000FFFFF & (2 + high)) < 3
    log = np.where(near, _near_one(f, k), _away_from_one(f, k, high))
    return np.where(x > 0, np.where(x == np.inf, x, log), np.nan)


def _near_one(f: Doubles, k: Doubles) -> Doubles:
    r = f * f * (0.5 - 0.33333333333333333 * f)
    far = k * _LN2_HIGH - ((r - k * _LN2_LOW) - f)
    exact = np.where(k == 0, 0.0, k * _LN2_HIGH + k * _LN2_LOW)
    return np.where(f == 0, exact, np.where(k == 0, f - r, far))


def _away_from_one(f: Doubles, k: Doubles, high: Int64s) -> Doubles:
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    r = z * (_L1 + w * (_L3 + w * (_L5 + w * _L7))) + w * (_L2 + w * (_L4 + w * _L6))
    half = 0.5 * f * f
    middle = ((high - 0x6147A) | (0x6B851 - high)) > 0
    t = np.where(middle, s * (half + r), s * (f - r))
    near = np.where(middle, f - (half - t), f - t)
    far = np.where(middle, k * _LN2_HIGH - ((half - (t + k * _LN2_LOW)) - f), k * _LN2_HIGH - ((t - k * _LN2_LOW) - f))
    return np.where(k == 0, near, far)
