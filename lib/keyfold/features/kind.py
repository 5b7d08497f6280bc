"""What a kind of feature is: conf fields, what it must know to be fitted, and its value in Spark and in Arrow."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from keyfold.core import hashing, sql
from keyfold.core import vocabulary as lookup
from keyfold.core.arrays import Int64s
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.section import Section
from keyfold.core.types import ARROW, HASHED, ArrowValue, SqlValue
from keyfold.errors import DataError
from keyfold.features.fitting import CountedExpression, FeatureStatistics, Target, rank_values

if TYPE_CHECKING:
    from pyspark.sql import Column

State = dict[str, Any]  # JSON
Array = Any  # numpy.ndarray, or pyarrow.ListArray
MAX_CELLS = 2**24  # 64 MB of floats


class FeatureInput(Section):
    """An input that is another feature's integers."""

    feature: str

    def __str__(self) -> str:
        return f"feature {self.feature}"


Input = Annotated[str | FeatureInput, Field(description="a column's name, or {feature: name}")]


class FeatureOutput(NamedTuple):
    """What a feature yields: `length` values a row (None: any number), of a type; an int is an index in [0, width).

    `shape` is that of the values of a row, where they are more than a list: (height, width, channels) of a picture.
    """

    type: Literal["int", "double", "float"]
    width: int = 1
    length: int | None = 1
    shape: tuple[int, ...] | None = None

    @property
    def is_index(self) -> bool:
        """Whether it is one index."""
        return self.type == "int" and self.length == 1

    @property
    def columns(self) -> int:
        """Columns that it takes in a sparse matrix."""
        return self.width if self.type == "int" else (self.length or 0)

    @property
    def cells(self) -> int:
        """Numbers a row; a bag counts as one."""
        return self.length or 1


class Kind(Section):
    """A kind of feature. Its file is named as the conf names it; the class is found there."""

    takes: ClassVar[tuple[str, ...]]  # type families, see `keyfold.core.types`
    pure: ClassVar[bool] = True  # whether it has an SQL expression; else Spark runs its Arrow form
    salt_prefix: ClassVar[str]  # of kinds that hash: every salt begins with it, so it must never change
    learns_label: ClassVar[bool] = False  # whether it needs the target, and training rows have an `out_of_fold` form

    def inputs(self) -> Sequence[str | Derived | FeatureInput]:
        """The columns, derived numbers and features it takes, in order."""
        return [self.input_col]  # type: ignore[attr-defined]

    @property
    def own(self) -> list[str]:
        """The columns of a row itself that its value depends on."""
        return [name for c in self.inputs() if not isinstance(c, FeatureInput) for name in raw_columns(c)]

    @property
    def made_of(self) -> str:
        """How its column is made, where keyfold itself makes it before the features."""
        return ""

    @property
    def numbers(self) -> bool:
        """Whether `fit` needs count, min, max, mean and deviation of its inputs."""
        return False

    def counted(self, values: Sequence[SqlValue], target: Target | None) -> list[CountedExpression]:
        """The expressions whose values `fit` needs the counts of."""
        return []

    def fit(self, name: str, of: FeatureStatistics) -> State:
        """What to keep of the training rows, as JSON."""
        return {}

    def constant(self, of: FeatureStatistics) -> bool:
        """Whether the training rows show that the feature is the same in all of them."""
        return False

    def out(self, state: State) -> FeatureOutput:
        """What it yields."""
        raise NotImplementedError

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """The feature as an SQL expression, never NULL; of pure kinds alone."""
        raise NotImplementedError

    def spark(self, values: Sequence[SqlValue], state: State) -> "Column":
        """The same as a Column."""
        return sql.column(self.sql(values, state)) if self.pure else _spark_of_arrow(self, values, state)

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """The same as an array: int32, float64 or float32, of (rows) or (rows, length); a list array for any length."""
        raise NotImplementedError

    def out_of_fold(self, part: str) -> "Kind":
        """What makes the values of training rows, whose part stands in a column (NULL: the values of all other rows)."""
        return self

    def samples(self, family: str) -> Sequence[Any] | None:
        """Values that a certificate has in its column; None for those of the type family."""
        return None

    def note(self, state: State) -> str:
        """What a person should know of the fitted feature, in a few words."""
        return ""


def rows_at_once(outs: Iterable[FeatureOutput]) -> int:
    """Of how many rows the features are held at once: images are thousands of numbers each."""
    return max(1, MAX_CELLS // max(1, sum(out.cells for out in outs)))


def _spark_of_arrow(kind: Kind, values: Sequence[SqlValue], state: State) -> "Column":
    """The Column of a kind's Arrow form, which Python workers compute."""
    from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]

    out, families = kind.out(state), [value.family for value in values]
    rows = rows_at_once([out])

    def form(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            arrays = batch if isinstance(batch, tuple) else (batch,)  # one column comes by itself
            for start in range(0, len(arrays[0]), rows):
                parts = zip(arrays, families, strict=True)
                taken = [ArrowValue(array.slice(start, rows).cast(ARROW[family]), family) for array, family in parts]
                yield _listed(kind.arrow(taken, state))

    made = arrow_udf(form, out.type if out.length == 1 else f"array<{out.type}>")
    return made(*(sql.column(value.column) for value in values))


def _listed(array: Array) -> pa.Array:
    """An Arrow array of numbers, or of lists of them."""
    if isinstance(array, pa.ListArray):
        return array
    if array.ndim == 1:
        return pa.array(array)
    starts = np.arange(len(array) + 1, dtype=np.int32) * array.shape[1]
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pa.array(array.reshape(-1)))


def as_int32(array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """The type of every index."""
    return array.astype(np.int32)


def salt_of(kind: Kind, name: str, salt: str | None) -> str:
    """The full salt of a feature; no two kinds share one."""
    return f"{kind.salt_prefix}:{name if salt is None else salt}"


def fit_vocabulary(
    name: str, column: str, family: str, counts: pa.Table, min_frequency: int = 1, most: int | None = None
) -> list[str] | list[int]:
    """Canonical values, most frequent first, ties by their UTF-8 bytes (DataError where two of them share a hash)."""
    kept = rank_values(counts, min_frequency, most)
    found = kept if family in ("string", "decimal") else [int(value) for value in kept]
    if not lookup.has_distinct_hashes(found):
        raise DataError(f"features.{name}: two values of `{column}` share a 64-bit hash; use `hashed` instead")
    return found


def sql_bucket(salt: str, hashes: Sequence[str], num_buckets: int) -> str:
    """int in [1, num_buckets), of value hashes."""
    return f"CAST({hashing.sql_reduce(hashing.sql_feature_hash(salt, hashes), num_buckets - 1)} + 1L AS INT)"


def bucket_of(salt: str, hashes: Sequence[Int64s], num_buckets: int) -> npt.NDArray[np.int32]:
    """int32 in [1, num_buckets), of value hashes."""
    return as_int32(hashing.reduce(hashing.feature_hash(salt, hashes), num_buckets - 1) + 1)


class Bucketed(Kind):
    """A kind that yields the bucket of its inputs, an index in [0, num_buckets), under the hash contract."""

    takes: ClassVar = HASHED

    num_buckets: int = Field(ge=2, le=hashing.MAX_BUCKETS, description="bucket 0, for NULL, counts too")
    salt: str | None = Field(None, description="default: the feature's name")

    def fit(self, name: str, of: FeatureStatistics) -> State:
        """The salt."""
        return {"salt": salt_of(self, name, self.salt)}

    def out(self, state: State) -> FeatureOutput:
        """An index."""
        return FeatureOutput("int", self.num_buckets)

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """int"""
        absent = " AND ".join(v.null for v in values)
        return f"CASE WHEN {absent} THEN 0 ELSE {sql_bucket(state['salt'], [v.hash for v in values], self.num_buckets)} END"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """int32"""
        absent = np.logical_and.reduce([v.null for v in values])
        return as_int32(np.where(absent, 0, bucket_of(state["salt"], [v.hash for v in values], self.num_buckets)))

    def note(self, state: State) -> str:
        """The salt."""
        return f"salt {state['salt']}"
