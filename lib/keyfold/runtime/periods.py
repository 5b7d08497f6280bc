"""The period of a row, as text and as bounds of its time."""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from typing import Any, TypeVar

import narwhals as nw
import numpy as np
import pyarrow as pa

from keyfold.conf.data import Data
from keyfold.conf.file_period import FilePeriod
from keyfold.core import sql
from keyfold.core.names import PERIOD
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Computed, Frame
from keyfold.errors import DataError
from keyfold.readers.zones import DAY, instant_offsets, zone_of

_F = TypeVar("_F", bound=Frame)
_PATTERNS = {"year": "yyyy", "month": "yyyy-MM", "day": "yyyy-MM-dd"}
_UNITS = {"year": "Y", "month": "M", "day": "D"}
_DAYS = {"year": 366, "month": 31, "day": 1}  # at most: the first day plus these is in the next period
_INSTANT = nw.Datetime("us", "UTC")
_TYPES = {"date": nw.Date(), "timestamp": _INSTANT, "timestamp_ntz": nw.Datetime("us")}


def period_of(data: Data, types: Mapping[str, str]) -> Computed:
    """`keyfold_period`, the period of each row as text; by its time in tables that keyfold did not ingest."""
    if PERIOD in types:
        return Computed({PERIOD: pa.string()}, _kept, [sql.quote_identifier(PERIOD)])
    return period_by_time(data, types)


def latest_period(data: Data, rows: Frame, table: str) -> str:
    """The last period of a table's rows (DataError if it is empty)."""
    latest = rows.compute(period_of(data, rows.types), []).group([], last=col(PERIOD).max()).rows()[0]["last"]
    if latest is None:
        raise DataError(f"table `{table}` is empty, so it has no period")
    return str(latest)


def period_by_time(data: Data, types: Mapping[str, str]) -> Computed:
    """`keyfold_period`, the period of each row by data.time in data.zone as text (DataError if that column is not a time)."""
    if data.period == "all":
        return Computed({PERIOD: pa.string()}, _all, ["'all'"])
    if isinstance(data.period, FilePeriod):
        raise DataError(
            f"table of `{data.table or data.source}` was not ingested with data.period: {{from: file}}; run `ingest` first"
        )
    name, type_ = str(data.time), types[str(data.time)]
    if type_ not in _TYPES:
        raise DataError(f"data.time: `{name}` is {type_}; it must be a date or a timestamp (say so in data.columns)")
    zone, at = data.zone if type_ == "timestamp" else None, sql.column_reference(name)
    at = f"from_utc_timestamp({at}, {sql.text_literal(zone)})" if zone else at
    text = f"date_format({at}, '{_PATTERNS[data.period]}')"
    return Computed({PERIOD: pa.string()}, partial(_by_time, name, data.period, zone), [text])


def _kept(batch: pa.RecordBatch) -> list[pa.Array]:
    return [batch[PERIOD]]


def _all(batch: pa.RecordBatch) -> list[pa.Array]:
    return [pa.repeat("all", batch.num_rows)]


def _by_time(name: str, length: str, zone: str | None, batch: pa.RecordBatch) -> list[pa.Array]:
    array = batch[name]
    if pa.types.is_date(array.type):
        days = array.cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64)
    else:
        micros = array.cast(pa.int64()).fill_null(0).to_numpy()
        offset = zone_of(zone) if zone else None
        days = (micros if offset is None else micros + instant_offsets(offset, micros)) // DAY
    distinct, places = np.unique(days, return_inverse=True)
    texts: Any = np.datetime_as_string(distinct.astype("datetime64[D]"), _UNITS[length])  # type: ignore[call-overload]
    return [
        pa.array(map(_with_java_year, texts.tolist()), pa.string()).take(
            pa.array(places, mask=array.is_null().to_numpy(zero_copy_only=False))
        )
    ]


def _with_java_year(text: str) -> str:
    """A date with the year as Java writes it: four digits, or a sign and the digits if it is outside 0 to 9999."""
    year, *rest = text.lstrip("-").split("-")
    sign = "-" if text[0] == "-" else "+" if len(year) > 4 else ""
    return "-".join([sign + year.zfill(4), *rest])


def in_period(data: Data, frame: _F, period: str) -> _F:
    """The rows of a period, with `keyfold_period` as their last column.

    Compares times if it can: Delta skips files by them, and they cost less than text.
    """
    found = frame.among(PERIOD, [period]).drop(PERIOD) if PERIOD in frame.types else _in_time(data, frame, period)
    return found.with_columns({PERIOD: lit(period)})


def _in_time(data: Data, frame: _F, period: str) -> _F:
    types, bounds = frame.types, None if isinstance(data.period, FilePeriod) else _bounds(data, period)
    if bounds:
        at, type_ = col(str(data.time)), _TYPES[types[str(data.time)]]
        start, end = (lit(f"{day} 00:00:00+00:00" if type_ == _INSTANT else str(day)).cast(type_) for day in bounds)
        frame = frame.where(at >= start, at < end)
    if not bounds or data.zone:
        frame = frame.compute(period_by_time(data, types)).where(col(PERIOD) == lit(period)).drop(PERIOD)
    return frame


def _bounds(data: Data, period: str) -> tuple[date, date] | None:
    """The first day of a period and the first one after it, with days to spare in a zone; None for a text that is not a period."""
    length = str(data.period)
    if len(period) != len(_PATTERNS.get(length, "")):
        return None
    rest = "0001-01-01"[len(period) :]
    try:
        first = date.fromisoformat(period + rest)
        after = date.fromisoformat(str(first + timedelta(_DAYS[length]))[: len(period)] + rest)
        spare = timedelta(2 if data.zone else 0)  # clocks differ by at most a day, and may go back over midnight
        return first - spare, after + spare
    except (ValueError, OverflowError):
        return None
