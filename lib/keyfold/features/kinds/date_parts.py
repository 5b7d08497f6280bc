"""Parts of a date or time, such as the day of the week, as an index, as numbers, or as sine and cosine.

Sine and cosine come from a table in the spec, because their last bits differ between machines.
"""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from keyfold.core import sql
from keyfold.core.arrays import Int64s
from keyfold.core.types import DAYS, ArrowValue, SqlValue
from keyfold.errors import ConfError
from keyfold.features.fitting import FeatureStatistics
from keyfold.features.kind import Array, FeatureOutput, Kind, State, as_int32

_HOUR, _DAY = 3_600_000_000, 86_400_000_000
PartName = Literal["hour", "day_of_week", "day_of_month", "month"]


class DatePart(NamedTuple):
    """A part of a date or time.

    values: number of values; the part is an integer in [0, values). sql, numpy: the part of an integer, which is microseconds
    since 1970 for `hour`, and days since 1970 for the others.
    """

    values: int
    sql: str
    numpy: Callable[[Int64s], Int64s]


def _days(days: Int64s) -> npt.NDArray[np.datetime64]:
    return days.astype("datetime64[D]")


DATE_PARTS: dict[PartName, DatePart] = {
    "hour": DatePart(24, f"CAST(pmod({{}}, {_DAY}L) div {_HOUR}L AS INT)", lambda micros: micros % _DAY // _HOUR),
    "day_of_week": DatePart(7, "CAST(pmod({} + 3L, 7L) AS INT)", lambda days: (days + 3) % 7),
    "day_of_month": DatePart(
        31, "(day(date_from_unix_date(CAST({} AS INT))) - 1)",
        lambda days: (_days(days) - _days(days).astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64),
    ),
    "month": DatePart(
        12, "(month(date_from_unix_date(CAST({} AS INT))) - 1)",
        lambda days: _days(days).astype("datetime64[M]").astype(np.int64) % 12,
    ),
}  # fmt: skip


class DateParts(Kind):
    """Parts of a date or time: hour, day of week, day of month, month.

    Parts are those of UTC; a timestamp without time zone is read as it is. `hour` is 0 to 23, `day_of_week` 1 (Monday) to 7,
    `day_of_month` 1 to 31, `month` 1 to 12.

    Output: one part is an index (1 is its first value), which `crossed` accepts; int32 of shape (rows,). Several parts are numbers
    (1.0 is the first value); float64 of shape (rows, parts). With `cyclic`: sine and cosine of each; float64 of (rows, 2 × parts).
    NULL: index 0, or zeros.
    Errors: ConfError for the hour of a date, DataError for a column that is neither date nor timestamp.
    """

    takes: ClassVar = DAYS

    input_col: str = Field(description="name of a column of dates or timestamps", examples=["signup_date"])
    parts: list[PartName] = Field(["hour", "day_of_week", "month"], min_length=1, description="parts to take, in this order")
    cyclic: bool = Field(False, description="sine and cosine of each part, so that its last value is close to its first")

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps the type family of the column and the tables of sine and cosine."""
        family = statistics.inputs[0]["family"]
        if family == "date" and "hour" in self.parts:
            raise ConfError(f"features.{name}: column `{self.input_col}` is a date and has no hour; leave `hour` out of `parts`")
        tables = {part: _circle(DATE_PARTS[part].values) for part in self.parts} if self.cyclic else {}
        return {"family": family, "tables": tables}

    def output(self, state: State) -> FeatureOutput:
        """One index, or numbers."""
        if self.cyclic:
            return FeatureOutput("double", length=2 * len(self.parts))
        only = DATE_PARTS[self.parts[0]]
        return FeatureOutput("int", only.values + 1) if len(self.parts) == 1 else FeatureOutput("double", length=len(self.parts))

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int, or array<double>"""
        (value,) = values
        parts = [self._sql_part(value, part, state["family"]) for part in self.parts]
        if self.cyclic:
            tables = (state["tables"][part] for part in self.parts)
            cells = (_sql_table(part, table, i) for part, table in zip(parts, tables, strict=True) for i in (0, 1))
            return sql.array_expression(f"coalesce({cell}, 0.0D)" for cell in cells)
        indices = [f"coalesce({part} + 1, 0)" for part in parts]
        return indices[0] if len(indices) == 1 else sql.array_expression(f"CAST({index} AS DOUBLE)" for index in indices)

    def _sql_part(self, value: SqlValue, part: PartName, family: str) -> str:
        integer = value.canonical
        if family != "date" and part != "hour":
            integer = f"(({integer} - pmod({integer}, {_DAY}L)) div {_DAY}L)"
        return DATE_PARTS[part].sql.format(integer)

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32 of shape (rows,), or float64 of shape (rows, length)"""
        (value,) = values
        instants = value.canonical.fill_null(0).to_numpy(zero_copy_only=False)
        parts = [
            DATE_PARTS[part].numpy(instants if state["family"] == "date" or part == "hour" else instants // _DAY)
            for part in self.parts
        ]
        if self.cyclic:
            circles = [np.array(state["tables"][name])[part] for name, part in zip(self.parts, parts, strict=True)]
            return np.where(value.null[:, None], 0.0, np.column_stack(circles))
        indices = [np.where(value.null, 0, part + 1) for part in parts]
        return as_int32(indices[0]) if len(indices) == 1 else np.column_stack(indices).astype(np.float64)

    def note(self, state: State) -> str:
        """The parts."""
        return ", ".join(self.parts) + (" as sine and cosine" if self.cyclic else "")


def _circle(n: int) -> list[list[float]]:
    return [[math.sin(2 * math.pi * i / n), math.cos(2 * math.pi * i / n)] for i in range(n)]


def _sql_table(row: str, table: Sequence[Sequence[float]], i: int) -> str:
    return f"get({sql.array_expression(sql.double_literal(pair[i]) for pair in table)}, {row})"
