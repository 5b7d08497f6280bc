"""A column's value as features take it: brought without loss to the type that was fitted, then read as number or hash.

Type families: bigint (all integers), double (both floats), string, boolean, date, timestamp, timestamp_ntz, decimal.
`SparkValue` holds a Column, `ArrowValue` an Arrow array; both have `null`, `number` and `hash`.
"""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold import hashing
from keyfold.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import Column

HASHED = ("bigint", "string", "boolean", "date", "timestamp", "timestamp_ntz", "decimal")
NUMBERS = ("bigint", "double", "boolean", "decimal")
EXACT = 2**53
ARROW: dict[str, pa.DataType] = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "decimal": pa.decimal128(38, 18),
}
_INTEGERS = {"tinyint", "smallint", "int", "bigint"}


def family_of(spark_type: str) -> str:
    """The family of a Spark type's simple name; other types (`array<…>`, `binary`) are their own."""
    name = spark_type.split("(", maxsplit=1)[0].split(" collate", maxsplit=1)[0]
    return "bigint" if name in _INTEGERS else "double" if name == "float" else name


def arrow_family(type_: pa.DataType) -> str:
    """The family of an Arrow type; other types are their own names, `null` among them."""
    t = pa.types
    if t.is_timestamp(type_):
        return "timestamp" if type_.tz else "timestamp_ntz"
    tests = {
        "bigint": t.is_integer, "double": t.is_floating, "string": t.is_string, "boolean": t.is_boolean,
        "date": t.is_date, "decimal": t.is_decimal,
    }  # fmt: skip
    if t.is_large_string(type_) or t.is_string_view(type_):
        return "string"
    return next((name for name, test in tests.items() if test(type_)), str(type_))


class SparkValue:
    """A Column of one family, read as features read it."""

    def __init__(self, column: "Column", family: str) -> None:
        self.column, self.family = column, family

    @cached_property
    def null(self) -> "Column":
        """boolean"""
        return self.column.isNull()

    @cached_property
    def number(self) -> "Column":
        """double; NULL where the value is NULL, NaN or infinite; -0.0 is 0.0"""
        from pyspark.sql import functions as F

        if self.family != "double":
            return self.column.cast("double") if self.family != "boolean" else self.column.cast("int").cast("double")
        return F.when(F.abs(self.column) <= F.lit(np.finfo(float).max.item()), self.column + F.lit(0.0))

    @cached_property
    def hash(self) -> "Column":
        """bigint, the value hash"""
        return hashing.spark_value_hash(hashing.spark_canonical(self.column, self.family))


class ArrowValue:
    """An Arrow array of one family, read as features read it."""

    def __init__(self, array: pa.Array, family: str) -> None:
        self.array, self.family = array, family

    @cached_property
    def null(self) -> npt.NDArray[np.bool_]:
        """booleans"""
        return self.array.is_null().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    @cached_property
    def number(self) -> npt.NDArray[np.float64]:
        """float64; NaN where the value is NULL, NaN or infinite; -0.0 is 0.0"""
        numbers = _doubles(self.array, self.family)
        return np.where(np.isfinite(numbers), numbers + 0.0, np.nan)

    @cached_property
    def hash(self) -> hashing.Int64s:
        """int64, the value hash"""
        return hashing.value_hash(hashing.canonical(self.array, self.family))


def spark_cast(column: "Column", actual: str, family: str, name: str) -> SparkValue:
    """A Column of family `actual` as the fitted family, without loss (DataError; in the job where a value is lost)."""
    from pyspark.sql import functions as F

    if actual in ("void", family):
        return SparkValue(column.cast(family) if actual == "void" else _widened(column, family), family)
    if {actual, family} == {"bigint", "double"}:
        lossless = F.abs(column) <= F.lit(EXACT) if actual == "bigint" else (
            (F.abs(column) <= F.lit(float(EXACT))) & (column == F.rint(column)))  # fmt: skip
        absent = column.isNull() if actual == "bigint" else column.isNull() | F.isnan(column)
        lost = F.raise_error(F.concat(F.lit(f"keyfold: {_lost(name, family)}; got "), column.cast("string")))
        return SparkValue(F.when(absent, None).when(lossless, column.cast(family)).otherwise(lost.cast(family)), family)
    raise DataError(_other_type(name, actual, family))


def arrow_cast(array: pa.Array | pa.ChunkedArray, family: str, name: str) -> ArrowValue:
    """An Arrow array as the fitted family, without loss (DataError where the type differs or a value would be lost)."""
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    actual = arrow_family(array.type)
    if {actual, family} == {"bigint", "double"}:
        return ArrowValue(_between_numbers(array, actual, family, name), family)
    if actual not in ("null", family):
        raise DataError(_other_type(name, actual, family))
    try:
        return ArrowValue(array if actual == family == "decimal" else array.cast(ARROW[family]), family)
    except pa.ArrowInvalid as error:
        raise DataError(f"{_lost(name, family)}: {error}") from error


def _widened(column: "Column", family: str) -> "Column":
    return column.cast(family) if family in ("bigint", "double") else column


def _between_numbers(array: pa.Array, actual: str, family: str, name: str) -> pa.Array:
    if actual == "double":
        array = pc.if_else(pc.is_nan(array), None, array.cast(pa.float64()))
        lossless = pc.and_(pc.less_equal(pc.abs(array), float(EXACT)), pc.equal(array, pc.round(array)))
    else:
        array = array.cast(pa.int64())
        lossless = pc.and_(pc.less_equal(array, EXACT), pc.greater_equal(array, -EXACT))
    if not pc.all(lossless, min_count=0).as_py():
        first = array.filter(pc.invert(lossless))[0]
        raise DataError(f"{_lost(name, family)}; got {first}")
    return array.cast(ARROW[family])


def _doubles(array: pa.Array, family: str) -> npt.NDArray[np.float64]:
    if family == "decimal":
        # Arrow's own cast is not correctly rounded; Python's and Java's are.
        encoded = array.dictionary_encode()
        distinct = [float(d) for d in encoded.dictionary.to_pylist()]
        array = pa.array(distinct, pa.float64()).take(encoded.indices)
    elif family == "bigint":
        numbers = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64)
        return np.where(array.is_null().to_numpy(zero_copy_only=False), np.nan, numbers)
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _lost(name: str, family: str) -> str:
    return f"column `{name}` was fitted as {family}, to which a value cannot be brought without loss"


def _other_type(name: str, actual: str, family: str) -> str:
    return f"column `{name}` is {actual}, but the spec was fitted on {family}; cast it, or fit the spec again"


def refuse_unless(families: tuple[str, ...], family: str, what: str, advice: str) -> None:
    """DataError where a family is none of `families`."""
    if family not in families:
        raise DataError(f"{what} takes {', '.join(families)} (got {family}); {advice}")
