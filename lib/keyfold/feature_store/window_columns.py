"""Windowed features as columns of a frame, computed by `keyfold.windows.kernel` over sorted Arrow batches."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from keyfold.core.derived import Derived, raw_columns
from keyfold.core.names import KNOWN, PERIOD, STATE
from keyfold.core.types import DAYS, HASHED, NUMBERS, family_of, require_family
from keyfold.engine import functions as F
from keyfold.engine.arrow import map_batches
from keyfold.engine.spark_columns import col
from keyfold.engine.spark_frame import ARROW_SETTINGS
from keyfold.errors import DataError, suggestion
from keyfold.feature_store.point_in_time import time_micros
from keyfold.windows.series import STATE_TYPE, SeriesDefinition, window_batches

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# The kernel takes some milliseconds a batch, however many rows it has; Arrow's own readers give batches of this size, too.
KERNEL_SETTINGS = ARROW_SETTINGS | {"spark.sql.execution.arrow.maxRecordsPerBatch": "131072"}


def add_windows(definition: SeriesDefinition, rows: "DataFrame", states: "DataFrame | None" = None) -> "DataFrame":
    """The rows with their windows and, on the last row of each series, its state; one exchange, one sort.

    A state holds the rows that later windows still reach, and the sums of the windows that reach back to the beginning.
    states: one row for each series, as from `latest_states`.
    """
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import DoubleType, StructField, StructType

    lines = rows
    if states is not None:
        lines = rows.unionByName(states.select(*map(col, [*definition.by, STATE])), allowMissingColumns=True)
    series = [*map(col, definition.by)]
    together = lines.repartition(*series) if series else lines.repartition(1)
    ordered = together.sortWithinPartitions(*series, *map(col, (definition.time, *definition.ties)))
    state = StructField(STATE, from_arrow_type(STATE_TYPE))
    schema = StructType([*rows.schema.fields, *(StructField(w.name, DoubleType()) for w in definition.windows), state])
    return map_batches(ordered, partial(window_batches, definition), schema)


def latest_states(table: "DataFrame", definition: SeriesDefinition, period: str | None = None) -> "DataFrame":
    """The columns that identify a series, and its state, one row for each series of a feature table; after `period` (default: the last)."""
    rows = table.where(col(STATE).isNotNull() & (col(PERIOD) <= period if period else F.lit(True)))
    last = rows.groupBy(*map(col, definition.by)).agg(F.max_by(col(STATE), col(definition.time)).alias(STATE))
    return last.where(col(STATE).isNotNull())


def add_known_time(definition: SeriesDefinition, rows: "DataFrame", created: str | None) -> "DataFrame":
    """Adds the time at which a row and all rows in its windows were known, if the column `created` says when a row was known."""
    parts = [w.name for w in definition.windows if w.name.startswith(KNOWN)]
    if not parts or created is None:
        return rows
    latest = F.greatest(time_micros(created), *(F.col(c).cast("bigint") for c in parts))
    return rows.withColumn(KNOWN, F.timestamp_micros(latest)).drop(*parts)


def check_windows(definition: SeriesDefinition, rows: "DataFrame", table: str, created: str | None) -> None:
    """Raises DataError if a column of the windows is missing, has a wrong type or has the name of a feature."""
    inputs = [c for source, _ in definition.inputs for c in raw_columns(source)]
    for option, names in {"input_col": inputs, "by": definition.by, "order_by": [definition.time, *definition.ties]}.items():
        for name in names:
            if name not in rows.columns:
                where = f"the windows of the conf ({option})"
                raise DataError(f"{where}: table `{table}` has no column `{name}`{suggestion(name, rows.columns)}")
    if taken := first_taken_name(definition, rows.columns):
        raise DataError(f"features.{taken}: table `{table}` has a column of this name; rename the feature")
    _check_types(definition, {f.name: family_of(f.dataType.simpleString()) for f in rows.schema.fields}, created)


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
