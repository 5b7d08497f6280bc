"""Values of one declared type as another, without loss: NULL if the value of the old type cannot be had back."""

from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.texts import value_texts
from keyfold.core.types import DAYS, arrow_family, family_of
from keyfold.readers.casts import arrow_type, zone_named
from keyfold.readers.zones import DAY, Zone, instant_offsets, wall_offsets

_EXACT = Context(prec=800, rounding=ROUND_HALF_UP)  # holds the digits of any double


def convert(values: pa.Array, type_: str, zone: str | None) -> pa.Array:
    """Values that are no text as a declared type; instants as times of the zone (default: UTC)."""
    if arrow_family(values.type) == "timestamp":
        values = _wall_times(values, zone_named(zone))
    if type_ == "string":
        return value_texts(values)
    if arrow_family(values.type) in DAYS:
        return _as_day(values, type_)
    if family_of(type_) == arrow_family(values.type) == "bigint":
        return _narrowed(values, arrow_type(type_))
    encoded = values.dictionary_encode()
    one = partial(_number, type_=type_, old=values.type)
    return pa.array(map(one, encoded.dictionary.to_pylist()), arrow_type(type_)).take(encoded.indices)


def _wall_times(instants: pa.Array, zone: Zone | None) -> pa.Array:
    """Times that the zone's clock shows; NULL for the second one of two equal ones."""
    micros = instants.cast(pa.timestamp("us")).cast(pa.int64())
    if zone is None:
        return micros.cast(pa.timestamp("us"))
    at = micros.fill_null(0).to_numpy()
    wall = at + instant_offsets(zone, at)
    lost = np.asarray(instants.is_null()) | (wall - wall_offsets(zone, wall) != at)
    return pa.array(wall, mask=lost).cast(pa.timestamp("us"))


def _as_day(values: pa.Array, type_: str) -> pa.Array:
    """Dates, or times without a zone, as the other."""
    if type_ != "date":
        return values.cast(pa.timestamp("us"))
    if pa.types.is_date(values.type):
        return values
    micros = values.cast(pa.int64())
    days = micros.fill_null(0).to_numpy() // DAY
    lost = pc.not_equal(pa.array(days * DAY), micros).fill_null(True)
    return pa.array(days.astype(np.int32), mask=np.asarray(lost)).cast(pa.date32())


def _narrowed(values: pa.Array, type_: pa.DataType) -> pa.Array:
    cast = values.cast(type_, safe=False)
    return pc.if_else(pc.equal(cast.cast(values.type, safe=False), values), cast, pa.scalar(None, type_))


def _number(value: Any, type_: str, old: pa.DataType) -> Any:
    """A number or truth value as another type; None if it cannot be had back."""
    if value is None or value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
        return None
    family = family_of(type_)
    if family == "boolean":
        return bool(value) if value in (0, 1) else None
    if family == "bigint":
        limit = 2 ** (arrow_type(type_).bit_width - 1)
        return int(value) if int(value) == value and -limit <= value < limit else None
    if family == "double":
        return _double(value, old)
    return _decimal(value, arrow_type(type_))


def _double(value: Any, old: pa.DataType) -> float | None:
    number = float(value)
    if pa.types.is_decimal(old):
        return number if _decimal(number, old) == value else None
    return number if int(number) == value and -(2**63) <= number < 2**63 else None


def _decimal(value: Any, type_: pa.DataType) -> Decimal | None:
    """The nearest decimal; None if it is too long, or if the value cannot be had back."""
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    rounded = exact.quantize(Decimal(1).scaleb(-type_.scale), context=_EXACT)
    back = float(rounded) if isinstance(value, float) else rounded
    return rounded if back == value and abs(rounded) < 10 ** (type_.precision - type_.scale) else None
