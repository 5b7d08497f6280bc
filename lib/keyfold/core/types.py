"""Values of columns as features read them: cast without loss to the fitted type, then read as number or hash.

Type families: bigint (all integers), double (both floats), string, boolean, date, timestamp, timestamp_ntz, decimal.
`SqlValue` holds an SQL expression, `ArrowValue` an Arrow array; both have `null`, `number`, `canonical` and `hash`.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import hashing, sql
from keyfold.core.arrays import Int64s, single_chunk
from keyfold.errors import DataError, RowsError

HASHED = ("bigint", "string", "boolean", "date", "timestamp", "timestamp_ntz", "decimal")
NUMBERS = ("bigint", "double", "boolean", "decimal")
DAYS = ("date", "timestamp", "timestamp_ntz")
MAX_EXACT_INTEGER = 2**53  # below it a double is one integer; 2^53 itself may have been 2^53 + 1
_EXACT_POWER = 22  # 10^22 is the largest power of ten that is a double
MICROS = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000, "week": 604_800_000_000}
ARROW: dict[str, pa.DataType] = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "decimal": pa.decimal128(38, 18),
    "binary": pa.binary(),
}
_SQL = {"decimal": "decimal(38,18)"}
_INTEGERS = {"tinyint", "smallint", "int", "bigint"}


def spark_text(value: object) -> str:
    """A value of a conf as the text that Spark writes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def family_of(spark_type: str) -> str:
    """The type family of a Spark type; other types (`array<…>`, `binary`) are their own families."""
    name = spark_type.split("(", maxsplit=1)[0].split(" collate", maxsplit=1)[0]
    return "bigint" if name in _INTEGERS else "double" if name == "float" else name


def arrow_family(type_: pa.DataType) -> str:
    """The type family of an Arrow type; other types, `null` too, give their own names."""
    t = pa.types
    if t.is_timestamp(type_):
        return "timestamp" if type_.tz else "timestamp_ntz"
    tests = {
        "bigint": t.is_integer, "double": t.is_floating, "string": t.is_string, "boolean": t.is_boolean,
        "date": t.is_date, "decimal": t.is_decimal,
    }  # fmt: skip
    if t.is_large_string(type_) or t.is_string_view(type_):
        return "string"
    if t.is_binary(type_) or t.is_large_binary(type_) or t.is_binary_view(type_):
        return "binary"
    return next((name for name, test in tests.items() if test(type_)), str(type_))


class SqlValue:
    """An SQL expression of one type family."""

    def __init__(self, column: str, family: str, hashed: str | None = None) -> None:
        self.column, self.family, self._hashed = column, family, hashed

    def hashed_as(self, name: str) -> "SqlValue":
        """The same value, whose hash is in a column of that name."""
        return SqlValue(self.column, self.family, name)

    @property
    def null(self) -> str:
        """boolean"""
        return f"({self.column} IS NULL)"

    @property
    def number(self) -> str:
        """double; NULL where the value is NULL, NaN or infinite; -0.0 is 0.0"""
        if self.family == "double":
            most = sql.double_literal(np.finfo(float).max.item())
            return f"CASE WHEN abs({self.column}) <= {most} THEN {self.column} + 0.0D END"
        whole = f"CAST({self.column} AS INT)" if self.family == "boolean" else self.column
        return f"CAST({whole} AS DOUBLE)"

    @property
    def canonical(self) -> str:
        """text or bigint, the canonical value"""
        return hashing.sql_canonical(self.column, self.family)

    @property
    def hash(self) -> str:
        """bigint, the value hash"""
        return self._hashed or hashing.sql_value_hash(self.canonical)


class ArrowValue:
    """An Arrow array of one type family."""

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
    def canonical(self) -> pa.Array:
        """text or int64, the canonical value"""
        return hashing.canonical_values(self.array, self.family)

    @cached_property
    def hash(self) -> Int64s:
        """int64, the value hash"""
        return hashing.value_hash(self.canonical)


def sql_cast(actual: str, family: str, name: str) -> SqlValue:
    """A column of family `actual` as the fitted family, without loss (DataError for another type; a value that would be lost fails the query)."""
    column = sql.column_reference(name)
    if actual in ("void", family):
        widen = actual == "void" or family in ("bigint", "double")
        return SqlValue(f"CAST({column} AS {_SQL.get(family, family)})" if widen else column, family)
    if {actual, family} == {"bigint", "double"}:
        absent, lossless = f"{column} IS NULL", f"{column} BETWEEN -{MAX_EXACT_INTEGER - 1}L AND {MAX_EXACT_INTEGER - 1}L"
        if actual == "double":
            absent, lossless = (
                f"{absent} OR isnan({column})",
                f"abs({column}) < {float(MAX_EXACT_INTEGER)}D AND {column} = rint({column})",
            )
        lost = f"raise_error(concat({sql.text_literal(f'keyfold: {_lost(name, family)}; got ')}, CAST({column} AS STRING)))"
        cases = f"WHEN {absent} THEN NULL WHEN {lossless} THEN CAST({column} AS {family})"
        return SqlValue(f"CASE {cases} ELSE CAST({lost} AS {family}) END", family)
    raise DataError(_other_type(name, actual, family))


def arrow_cast(array: pa.Array | pa.ChunkedArray, family: str, name: str) -> ArrowValue:
    """An Arrow array as the fitted family, without loss (DataError for another type, or if a value would be lost)."""
    array = single_chunk(array)
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


def _between_numbers(array: pa.Array, actual: str, family: str, name: str) -> pa.Array:
    if actual == "double":
        array = pc.if_else(pc.is_nan(array), None, array.cast(pa.float64()))
        lossless = pc.and_(pc.less(pc.abs(array), float(MAX_EXACT_INTEGER)), pc.equal(array, pc.round(array)))
    else:
        array = array.cast(pa.int64())
        lossless = pc.and_(pc.less(array, MAX_EXACT_INTEGER), pc.greater(array, -MAX_EXACT_INTEGER))
    if not pc.all(lossless, min_count=0).as_py():
        lost = pc.fill_null(pc.invert(lossless), fill_value=False)
        raise RowsError(f"{_lost(name, family)}; got {array.filter(lost)[0]}", lost.to_numpy(zero_copy_only=False))
    return array.cast(ARROW[family])


def _doubles(array: pa.Array, family: str) -> npt.NDArray[np.float64]:
    if family == "decimal":
        return _decimal_doubles(array)
    if family == "bigint":
        numbers = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64)
        return np.where(array.is_null().to_numpy(zero_copy_only=False), np.nan, numbers)
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _decimal_doubles(array: pa.Array) -> npt.NDArray[np.float64]:
    """The nearest doubles, as Python's and Java's casts give them; Arrow's own is not correctly rounded."""
    exact = np.zeros(len(array), bool)
    numbers = np.full(len(array), np.nan)
    if len(array) and pa.types.is_decimal128(array.type) and 0 <= array.type.scale <= _EXACT_POWER:
        words = np.frombuffer(array.buffers()[1], np.int64, 2 * len(array), 16 * array.offset)
        low, high = words[0::2], words[1::2]
        # A quotient of two integers that doubles hold exactly is rounded once.
        exact = (high == low >> 63) & (low < MAX_EXACT_INTEGER) & (low > -MAX_EXACT_INTEGER)
        numbers = np.where(exact, low / float(10**array.type.scale), np.nan)
    rest = array.is_valid().to_numpy(zero_copy_only=False) & ~exact
    if rest.any():
        encoded = array.filter(pa.array(rest)).dictionary_encode()
        distinct = np.array([float(d) for d in encoded.dictionary.to_pylist()])
        numbers[rest] = distinct[encoded.indices.to_numpy(zero_copy_only=False)]
    return np.where(array.is_null().to_numpy(zero_copy_only=False), np.nan, numbers)


def _lost(name: str, family: str) -> str:
    return f"column `{name}` was fitted as {family}, to which a value cannot be cast without loss"


def _other_type(name: str, actual: str, family: str) -> str:
    return f"column `{name}` is {actual}, but the spec was fitted on {family}; cast it, or fit the spec again"


def require_family(families: tuple[str, ...], family: str, what: str, advice: str) -> None:
    """DataError if a family is not one of `families`."""
    if family not in families:
        raise DataError(f"{what} takes {', '.join(families)} (got {family}); {advice}")
