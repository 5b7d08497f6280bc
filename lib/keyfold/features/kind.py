"""The base class of all kinds of features. A kind defines its conf fields, how it is fitted, and its value in Spark SQL and in Arrow.

To add a kind, write `kinds/<name>.py` with one subclass of `Kind` (`kinds/hashed.py` and `kinds/bucketized.py` are short examples).
The conf names it `<name>`, and its fields are the options. `sql` and `arrow` must give the same bits: add confs of the kind to
`tests/every_kind.py`, and `tests/features/test_parity.py` compares both on drawn tables.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from keyfold.core import hashing, vocabulary
from keyfold.core.arrays import Doubles, Int64s
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.section import Section
from keyfold.core.types import ARROW, HASHED, ArrowValue, SqlValue
from keyfold.engine.frame import Expression, KernelExpression
from keyfold.errors import DataError
from keyfold.features.fitting import CountedExpression, FeatureStatistics, FitInput, Target, rank_values

State = dict[str, Any]  # JSON
Array = Any  # numpy.ndarray, or pyarrow.ListArray
MAX_CELLS = 2**24  # 64 MB of float32


class FeatureInput(Section):
    """The index of another feature as an input."""

    feature: str = Field(description="name of a feature that gives one index per row", examples=["city"])

    def __str__(self) -> str:
        return f"feature {self.feature}"


Input = Annotated[str | FeatureInput, Field(description="name of a column, or {feature: name} for the index of another feature")]


class FeatureOutput(NamedTuple):
    """Type and shape of a feature.

    type: "int" is an index in [0, width), stored as int32; "double" and "float" are numbers.
    width: number of different indices; 1 for numbers.
    length: values per row; None if it varies (a bag of indices).
    shape: shape of one row if it has more than one dimension, such as (height, width, channels) of an image.
    weights: of the indices of a bag (width). A matrix then has weighted counts, and those of each row have the Euclidean norm 1.
    """

    type: Literal["int", "double", "float"]
    width: int = 1
    length: int | None = 1
    shape: tuple[int, ...] | None = None
    weights: Doubles | None = None

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of a column of the feature."""
        cell = {"int": pa.int32(), "double": pa.float64(), "float": pa.float32()}[self.type]
        return cell if self.length == 1 else pa.list_(cell)

    @property
    def is_index(self) -> bool:
        """Whether a row has exactly one index."""
        return self.type == "int" and self.length == 1

    @property
    def columns(self) -> int:
        """Number of columns in a sparse matrix."""
        return self.width if self.type == "int" else (self.length or 0)

    @property
    def cells(self) -> int:
        """Values per row; a bag counts as one."""
        return self.length or 1


class Kind(Section):
    """A kind of feature: a conf section whose fields are its options.

    Required: `takes`, `output`, `arrow`, and `sql` unless `has_sql` is False. Kinds that learn from the training rows also
    define `fit` with `counted_expressions` or `needs_moments`, which say what is measured for them in the one pass over the rows.
    """

    takes: ClassVar[tuple[str, ...]]  # accepted type families of columns, see `keyfold.core.types`
    has_sql: ClassVar[bool] = True  # without an SQL expression, Spark runs `arrow` in Python workers
    salt_prefix: ClassVar[str]  # begins the salt of a kind that hashes; must be unique and never change
    learns_label: ClassVar[bool] = False  # whether `fit` needs the target; training rows then use `out_of_fold`

    def inputs(self) -> Sequence[str | Derived | FeatureInput]:
        """Input columns, derived numbers and features, in order."""
        return [self.input_col]  # type: ignore[attr-defined]

    @property
    def row_columns(self) -> list[str]:
        """Columns of the row itself that the value depends on."""
        return [name for c in self.inputs() if not isinstance(c, FeatureInput) for name in raw_columns(c)]

    @property
    def origin(self) -> str:
        """For error messages: how keyfold computes the input column; "" if the column is in the table."""
        return ""

    @property
    def needs_moments(self) -> bool:
        """Whether `fit` needs count, min, max, mean and deviation of the inputs."""
        return False

    def counted_expressions(self, values: Sequence[FitInput], target: Target | None) -> list[CountedExpression]:
        """Expressions whose value counts `fit` needs, given the inputs without other features."""
        return []

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Returns the state to keep, as JSON. Raises DataError or ConfError if the feature cannot be fitted."""
        return {}

    def is_constant(self, statistics: FeatureStatistics) -> bool:
        """Whether the feature has the same value in all training rows."""
        return False

    def output(self, state: State) -> FeatureOutput:
        """Type and shape of the values."""
        raise NotImplementedError

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """Spark SQL expression of the feature, never NULL: int, double, float, or an array of them."""
        raise NotImplementedError

    def expression(self, values: Sequence[SqlValue], state: State) -> Expression:
        """The feature in Spark: its SQL, or its kernel."""
        if self.has_sql:
            return self.sql(values, state)
        out, kernel = self.output(state), partial(_column_of, self, state, [value.family for value in values])
        return KernelExpression(kernel, [value.column for value in values], out.arrow_type, rows_at_once([out]))

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """Values of the feature, with the same bits as `sql`.

        int32, float64 or float32 of shape (rows,) or (rows, length); a pyarrow.ListArray if the length varies.
        Raises RowsError with a mask of the rows that cannot be used.
        """
        raise NotImplementedError

    def out_of_fold(self, part: str) -> "Kind":
        """The kind for training rows. It reads the row's part from a column; NULL means all parts."""
        return self

    def certificate_values(self, family: str) -> Sequence[Any] | None:
        """Input values for the parity certificate; None for the default values of the type family."""
        return None

    def note(self, state: State) -> str:
        """Short description of the fitted feature for the report."""
        return ""


def rows_at_once(outs: Iterable[FeatureOutput]) -> int:
    """Rows per batch that keep the features below `MAX_CELLS` values."""
    return max(1, MAX_CELLS // max(1, sum(out.cells for out in outs)))


def _column_of(kind: Kind, state: State, families: Sequence[str], arrays: Sequence[pa.Array]) -> pa.Array:
    inputs = [ArrowValue(array.cast(ARROW[family]), family) for array, family in zip(arrays, families, strict=True)]
    return as_column(kind.arrow(inputs, state))


def as_column(array: Array) -> pa.Array:
    """A feature as an Arrow column."""
    if isinstance(array, pa.ListArray):
        return array
    if array.ndim == 1:
        return pa.array(array)
    starts = np.arange(len(array) + 1, dtype=np.int32) * array.shape[1]
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pa.array(array.reshape(-1)))


def as_int32(array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Converts to int32, the type of every index."""
    return array.astype(np.int32)


def salt_of(kind: Kind, name: str, salt: str | None) -> str:
    """Full salt of a feature. The prefix keeps the salts of different kinds apart."""
    return f"{kind.salt_prefix}:{name if salt is None else salt}"


def fit_vocabulary(
    name: str, column: str, family: str, counts: pa.Table, min_frequency: int = 1, most: int | None = None
) -> list[str] | list[int]:
    """Canonical values, most frequent first, ties by UTF-8 bytes. Raises DataError if two of them share a hash."""
    ranked = rank_values(counts, min_frequency, most)
    words = ranked if family in ("string", "decimal") else [int(value) for value in ranked]
    if not vocabulary.has_distinct_hashes(words):
        raise DataError(f"features.{name}: two values of `{column}` share a 64-bit hash; use `hashed` instead")
    return words


def sql_bucket(salt: str, hashes: Sequence[str], num_buckets: int) -> str:
    """SQL int in [1, num_buckets): the bucket of one or more value hashes."""
    return f"CAST({hashing.sql_reduce(hashing.sql_feature_hash(salt, hashes), num_buckets - 1)} + 1L AS INT)"


def bucket_of(salt: str, hashes: Sequence[Int64s], num_buckets: int) -> npt.NDArray[np.int32]:
    """int32 in [1, num_buckets): the bucket of one or more value hashes."""
    return as_int32(hashing.reduce(hashing.feature_hash(salt, hashes), num_buckets - 1) + 1)


class Bucketed(Kind):
    """Base class of kinds that hash their inputs to a bucket in [1, num_buckets). Bucket 0: all inputs are NULL."""

    takes: ClassVar = HASHED

    num_buckets: int = Field(
        ge=2, le=hashing.MAX_BUCKETS, description="number of buckets, including bucket 0 for NULL", examples=[1024]
    )
    salt: str | None = Field(
        None, description="salt of the hash; default: the feature's name. Another salt gives other collisions"
    )

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps the salt."""
        return {"salt": salt_of(self, name, self.salt)}

    def output(self, state: State) -> FeatureOutput:
        """One index in [0, num_buckets)."""
        return FeatureOutput("int", self.num_buckets)

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int"""
        absent = " AND ".join(v.null for v in values)
        return f"CASE WHEN {absent} THEN 0 ELSE {sql_bucket(state['salt'], [v.hash for v in values], self.num_buckets)} END"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32 of shape (rows,)"""
        absent = np.logical_and.reduce([v.null for v in values])
        return as_int32(np.where(absent, 0, bucket_of(state["salt"], [v.hash for v in values], self.num_buckets)))

    def note(self, state: State) -> str:
        """The salt."""
        return f"salt {state['salt']}"
