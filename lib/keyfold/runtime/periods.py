"""The period of a row, as text and as bounds of its time."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from keyfold.conf.data import Data
from keyfold.conf.file_period import FilePeriod
from keyfold.core.names import PERIOD
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PERIOD_PATTERNS = {"year": "yyyy", "month": "yyyy-MM", "day": "yyyy-MM-dd"}
PERIOD_DAYS = {"year": 366, "month": 31, "day": 1}  # at most: the first day plus these is in the next period


def period_of(data: Data, rows: "DataFrame") -> "Column":
    """text: the period of each row; by its time in tables that keyfold did not ingest."""
    return col(PERIOD) if PERIOD in rows.columns else period_by_time(rows, data)


def period_by_time(rows: "DataFrame", data: Data) -> "Column":
    """text: the period of each row by data.time in data.zone (DataError if that column is no time)."""
    if data.period == "all":
        return F.lit("all")
    if isinstance(data.period, FilePeriod):
        raise DataError(
            f"table of `{data.table or data.source}` was not ingested with data.period: {{from: file}}; run `ingest` first"
        )
    name, type_ = str(data.time), rows.schema[str(data.time)].dataType.simpleString()
    if type_ not in ("date", "timestamp", "timestamp_ntz"):
        raise DataError(f"data.time: `{name}` is {type_}; it must be a date or a timestamp (say so in data.columns)")
    at = F.from_utc_timestamp(col(name), data.zone) if data.zone and type_ == "timestamp" else col(name)
    return F.date_format(at, PERIOD_PATTERNS[data.period])


def in_period(data: Data, rows: "DataFrame", period: str) -> "Column":
    """Whether a row is of a period. Compares times if it can: Delta skips files by them, and they cost less than text."""
    equal = period_of(data, rows) == period
    if PERIOD in rows.columns or isinstance(data.period, FilePeriod) or len(period) != len(PERIOD_PATTERNS.get(data.period, "")):
        return equal
    rest = "0001-01-01"[len(period) :]
    try:
        first = date.fromisoformat(period + rest)
        after = date.fromisoformat(str(first + timedelta(PERIOD_DAYS[data.period]))[: len(period)] + rest)
        spare = timedelta(2 if data.zone else 0)  # clocks differ by at most a day, and may go back over midnight
        bounds = [F.lit(str(first - spare)), F.lit(str(after + spare))]
    except (ValueError, OverflowError):
        return equal
    at, type_ = col(str(data.time)), rows.schema[str(data.time)].dataType
    within = (at >= bounds[0].cast(type_)) & (at < bounds[1].cast(type_))
    return within & equal if data.zone else within
