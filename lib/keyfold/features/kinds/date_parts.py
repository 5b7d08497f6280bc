"""Parts of a day or an instant, in UTC; a timestamp without zone has its wall clock.

`hour` is 0 to 23, `day_of_week` 1 (Monday) to 7, `day_of_month` 1 to 31, `month` 1 to 12. As numbers one part is an index
(0 is missing, 1 the first value), which can be crossed; several are doubles (0.0 is missing, 1.0 the first value).
`cyclic` gives the sine and cosine of each, from a table in the spec, for the last bits of sine differ between machines.
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
    """A part of a day (of days since 1970) or of an instant (of microseconds): how many values, from 0; in SQL; in NumPy."""

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
    """One index, or doubles: one a part, or with `cyclic` two."""

    takes: ClassVar = DAYS

    input_col: str
    parts: list[PartName] = Field(["hour", "day_of_week", "month"], min_length=1)
    cyclic: bool = False

    def fit(self, name: str, of: FeatureStatistics) -> State:
        """The family of the column, and the table of sines."""
        family = of.inputs[0]["family"]
        if family == "date" and "hour" in self.parts:
            raise ConfError(f"features.{name}: column `{self.input_col}` is a date and has no hour; leave `hour` out of `parts`")
        tables = {part: _circle(DATE_PARTS[part].values) for part in self.parts} if self.cyclic else {}
        return {"family": family, "tables": tables}

    def out(self, state: State) -> FeatureOutput:
        """An index, or doubles."""
        if self.cyclic:
            return FeatureOutput("double", length=2 * len(self.parts))
        only = DATE_PARTS[self.parts[0]]
        return FeatureOutput("int", only.values + 1) if len(self.parts) == 1 else FeatureOutput("double", length=len(self.parts))

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int, or array<double>"""
        (value,) = values
        found = [self._sql_part(value, part, state["family"]) for part in self.parts]
        if self.cyclic:
            cells = [
                _sql_table(place, state["tables"][part], i) for part, place in zip(self.parts, found, strict=True) for i in (0, 1)
            ]
            return sql.array_expression(f"coalesce({cell}, 0.0D)" for cell in cells)
        places = [f"coalesce({place} + 1, 0)" for place in found]
        return places[0] if len(places) == 1 else sql.array_expression(f"CAST({place} AS DOUBLE)" for place in places)

    def _sql_part(self, value: SqlValue, part: PartName, family: str) -> str:
        of = value.canonical
        if family != "date" and part != "hour":
            of = f"(({of} - pmod({of}, {_DAY}L)) div {_DAY}L)"
        return DATE_PARTS[part].sql.format(of)

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32 of (rows), or float64 of (rows, length)"""
        (value,) = values
        instants = value.canonical.fill_null(0).to_numpy(zero_copy_only=False)
        found = [
            DATE_PARTS[part].numpy(instants if state["family"] == "date" or part == "hour" else instants // _DAY)
            for part in self.parts
        ]
        if self.cyclic:
            tables = [np.array(state["tables"][part])[place] for part, place in zip(self.parts, found, strict=True)]
            return np.where(value.null[:, None], 0.0, np.column_stack(tables))
        places = [np.where(value.null, 0, place + 1) for place in found]
        return as_int32(places[0]) if len(places) == 1 else np.column_stack(places).astype(np.float64)

    def note(self, state: State) -> str:
        """The parts."""
        return ", ".join(self.parts) + (" as sine and cosine" if self.cyclic else "")


def _circle(n: int) -> list[list[float]]:
    return [[math.sin(2 * math.pi * i / n), math.cos(2 * math.pi * i / n)] for i in range(n)]


def _sql_table(place: str, table: Sequence[Sequence[float]], i: int) -> str:
    return f"get({sql.array_expression(sql.double_literal(pair[i]) for pair in table)}, {place})"
