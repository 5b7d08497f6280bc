"""Windowed features as columns of a frame, computed by `keyfold.windows.kernel` over sorted Arrow batches."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from keyfold.core.derived import Derived, raw_columns
from keyfold.core.names import KNOWN, PERIOD, STATE
from keyfold.core.sql import column_reference
from keyfold.core.types import ARROW, DAYS, HASHED, NUMBERS, family_of, require_family
from keyfold.engine.columns import col, lit
from keyfold.engine.engine import AnyRows, as_given, frame_of
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.sorted_batches import last_rows
from keyfold.errors import DataError, suggestion
from keyfold.windows.series import STATE_TYPE, SeriesDefinition, as_micros, window_batches

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

AT = "keyfold_at"
BATCH = 131_072  # rows; the kernel takes some milliseconds a batch, however many rows it has


def add_windows(definition: SeriesDefinition, rows: AnyRows, states: "Frame | DataFrame | None" = None) -> AnyRows:
    """The rows with their windows and, on the last row of each series, its state; one exchange, one sort.

    A state holds the rows that later windows still reach, and the sums of the windows that reach back to the beginning.
    states: one row for each series, as from `latest_states`.
    """
    frame = frame_of(rows)
    lines = frame if states is None else frame.union_by_name(frame_of(states).select([*definition.by, STATE]))
    types = {**frame.arrow_types(frame.columns), **{w.name: pa.float64() for w in definition.windows}, STATE: STATE_TYPE}
    kernel = partial(window_batches, definition)
    return as_given(lines.map_sorted(definition.by, [definition.time, *definition.ties], kernel, types), rows)


def latest_states(table: AnyRows, definition: SeriesDefinition, period: str | None = None) -> AnyRows:
    """The columns that identify a series, and its state, one row for each series of a feature table; after `period` (default: the last)."""
    frame, by, order = frame_of(table), definition.by, [definition.time, *definition.ties]
    until = [] if period is None else [col(PERIOD) <= lit(period)]
    rows = frame.where(~col(STATE).is_null(), *until).select(dict.fromkeys([*by, *order, STATE]))
    kernel = partial(last_rows, by, [*by, STATE])
    return as_given(rows.map_sorted(by, order, kernel, {**frame.arrow_types(by), STATE: STATE_TYPE}), table)


def time_micros(name: str, time: str) -> Computed:
    """bigint: microseconds since 1970 of a date or timestamp, in UTC."""
    return Computed({name: pa.int64()}, partial(_micros, time), [_sql_micros(time)])


def period_times(rows: Frame, time: str, **aggregates: nw.Expr) -> list[dict[str, Any]]:
    """A row for each period, with aggregates over a time in microseconds, the column `AT`."""
    return rows.select([PERIOD, time]).compute(time_micros(AT, time), [PERIOD]).group([PERIOD], **aggregates).rows()


def _sql_micros(time: str) -> str:
    return f"unix_micros(CAST({column_reference(time)} AS TIMESTAMP))"


def _micros(time: str, batch: pa.RecordBatch) -> list[pa.Array]:
    column = batch.column(time)
    missing = column.is_null()
    return [pa.array(as_micros(column.fill_null(0), time), mask=missing.to_numpy(zero_copy_only=False))]


def add_known_time(definition: SeriesDefinition, rows: Frame, created: str | None) -> Frame:
    """Adds the time at which a row and all rows in its windows were known, if the column `created` says when a row was known."""
    parts = [w.name for w in definition.windows if w.name.startswith(KNOWN)]
    if not parts or created is None:
        return rows
    times = ", ".join([_sql_micros(created), *(f"CAST({column_reference(part)} AS BIGINT)" for part in parts)])
    latest = Computed({KNOWN: ARROW["timestamp"]}, partial(_latest, created, parts), [f"timestamp_micros(greatest({times}))"])
    return rows.compute(latest, [name for name in rows.columns if name not in (*parts, KNOWN)])


def _latest(created: str, parts: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    latest = as_micros(batch.column(created), created).copy()
    for part in parts:
        micros = batch.column(part).to_numpy(zero_copy_only=False)
        known = ~np.isnan(micros)
        latest[known] = np.maximum(latest[known], micros[known].astype(np.int64))
    return [pa.array(latest).cast(ARROW["timestamp"])]


def check_windows(definition: SeriesDefinition, rows: Frame, table: str, created: str | None) -> None:
    """Raises DataError if a column of the windows is missing, has a wrong type or has the name of a feature."""
    inputs = [c for source, _ in definition.inputs for c in raw_columns(source)]
    for option, names in {"input_col": inputs, "by": definition.by, "order_by": [definition.time, *definition.ties]}.items():
        for name in names:
            if name not in rows.columns:
                where = f"the windows of the conf ({option})"
                raise DataError(f"{where}: table `{table}` has no column `{name}`{suggestion(name, rows.columns)}")
    if taken := first_taken_name(definition, rows.columns):
        raise DataError(f"features.{taken}: table `{table}` has a column of this name; rename the feature")
    _check_types(definition, {name: family_of(type_) for name, type_ in rows.types.items()}, created)


def first_taken_name(definition: SeriesDefinition, columns: Iterable[str]) -> str | None:
    """The first windowed feature that has the name of a column."""
    taken = set(columns)
    return next((w.name for w in definition.windows if w.name in taken), None)


def _check_types(definition: SeriesDefinition, families: Mapping[str, str], created: str | None) -> None:
    time = definition.time
    require_family(DAYS, families[time], f"windows: data.time `{time}`", "cast it, or give its type in data.columns")
    for name in definition.by:
        require_family(HASHED, families[name], f"windows: by `{name}`", "choose another column")
    for source, value in definition.inputs:
        if isinstance(source, Derived):
            source.check(families, "windows")
        elif value is None and source != created:
            require_family(NUMBERS, families[source], f"windows: input_col `{source}`", "cast it, or take the share of a value")
