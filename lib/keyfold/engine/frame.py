"""Lazy rows of an engine, computed when a result is needed.

An engine scans, filters, groups, joins, sorts and concatenates rows. Values are computed by kernels, functions over Arrow batches that
are the same on every engine.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Self, TypeVar

import narwhals as nw
import pyarrow as pa

from keyfold.engine.columns import col, count_rows, escape_name

Batches = Iterator[pa.RecordBatch]
BatchFunction = Callable[[Batches], Iterable[pa.RecordBatch]]
F = TypeVar("F", bound="Frame")


class KernelExpression(NamedTuple):
    """A Spark expression: a picklable kernel over the arrays of SQL expressions, with at most `rows` rows per call."""

    kernel: Callable[[Sequence[pa.Array]], pa.Array]
    inputs: Sequence[str]
    type: pa.DataType
    rows: int


Expression = str | KernelExpression


class Computed(NamedTuple):
    """Columns that are computed from other columns of the same row.

    types: by name. kernel: computes their arrays, in that order, from a batch; must be picklable. sql: Spark SQL expressions that give
    the same bits, in that order, or a function that returns them; empty if there are none. shared: further expressions by name, which
    `sql` may use. rows: the maximum number of rows per call of the kernel, 0 for any number.
    """

    types: Mapping[str, pa.DataType]
    kernel: Callable[[pa.RecordBatch], Sequence[pa.Array]]
    sql: Sequence[Expression] | Callable[[], Sequence[Expression]] = ()
    shared: Mapping[str, str] = MappingProxyType({})
    rows: int = 0

    @property
    def expressions(self) -> Sequence[Expression]:
        """The expressions of `sql`."""
        return self.sql() if callable(self.sql) else self.sql


class Frame(ABC):
    """Lazy rows of an engine."""

    @abstractmethod
    def then(self, function: Callable[..., nw.LazyFrame[Any]], *others: "Frame") -> Self:
        """Applies a function of narwhals frames to this frame and others of the same engine."""

    @property
    @abstractmethod
    def types(self) -> dict[str, str]:
        """Spark's name of each column's type, such as `bigint` or `decimal(10,2)`, by column."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [*self.types]

    def select(self, names: Iterable[str]) -> Self:
        """These columns, in this order."""
        escaped = [escape_name(name) for name in names]
        return self.then(lambda rows: rows.select(*escaped))

    def drop(self, *names: str) -> Self:
        """All columns but these."""
        return self.select(name for name in self.columns if name not in names)

    def rename(self, names: Mapping[str, str]) -> Self:
        """Renames columns; `names` maps old names to new ones."""
        escaped = {escape_name(old): escape_name(new) for old, new in names.items()}
        return self.then(lambda rows: rows.rename(escaped))

    def where(self, *conditions: nw.Expr) -> Self:
        """The rows for which all conditions are true."""
        return self.then(lambda rows: rows.filter(*conditions))

    def among(self, name: str, values: Sequence[Any]) -> Self:
        """The rows whose value of a column is one of these; the files of others are not read if they are partitions of a table."""
        return self.where(col(name).is_in(values))

    def with_columns(self, columns: Mapping[str, nw.Expr]) -> Self:
        """Adds columns, or replaces those with the same name."""
        named = [expression.alias(escape_name(name)) for name, expression in columns.items()]
        return self.then(lambda rows: rows.with_columns(*named) if named else rows)

    def with_constants(self, constants: Mapping[str, pa.Scalar]) -> Self:
        """Adds columns with one value each."""
        types = {name: nw.Int32 if value.type == pa.int32() else None for name, value in constants.items()}
        return self.with_columns({name: nw.lit(value.as_py(), types[name]) for name, value in constants.items()})

    def group(self, by: Sequence[str], **aggregates: nw.Expr) -> Self:
        """One row per tuple of values of `by`, where NULL is a value, with aggregates of its rows."""
        keys = [escape_name(name) for name in by]
        named = [expression.alias(escape_name(name)) for name, expression in aggregates.items()]
        return self.then(lambda rows: rows.group_by(*keys).agg(*named) if keys else rows.select(*named))

    def join(self, other: "Frame", on: Sequence[str], how: str = "inner") -> Self:
        """Joins rows with equal values of `on`; NULL equals nothing. `how` is inner, left, semi or anti."""
        keys: Any = [escape_name(name) for name in on]
        kind: Any = how
        return self.then(lambda rows, others: rows.join(others, on=keys, how=kind), other)

    @abstractmethod
    def as_of(self, entity: Sequence[str], time: str, others: "Sequence[Joined]") -> tuple[Self, list[int]]:
        """The rows with the values of other tables as of the column `time`, and by table the number of rows whose entity it lacks.

        `keyfold.engine.as_of` says which values these are. `entity`: the columns that identify an entity.
        """

    def union(self, *others: "Frame") -> Self:
        """The rows of all frames, which have the same columns in any order."""
        order = [escape_name(name) for name in self.columns]
        return self.then(lambda *frames: nw.concat([frame.select(*order) for frame in frames]), *others)

    def union_by_name(self, other: "Frame") -> Self:
        """The rows of two frames; a column that only one has is NULL in the rows of the other."""
        return self.then(lambda *frames: nw.concat(frames, how="diagonal"), other)

    def sort(self, names: Sequence[str], *, descending: Sequence[str] = ()) -> Self:
        """Sorts the rows. NULL comes first, also in a descending column. NaN is the largest number."""
        escaped, down = [escape_name(name) for name in names], [name in descending for name in names]

        def order(rows: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
            return rows.sort(*escaped, descending=down)

        return self.then(order)

    @abstractmethod
    def clustered(self, by: Sequence[str], order: Sequence[str], tasks: int | None = None) -> Self:
        """The rows in the order of `by` and `order` within each task; all rows with equal values of `by` are in one of the tasks."""

    def head(self, n: int) -> Self:
        """The first rows."""
        return self.then(lambda rows: rows.head(n))

    def distinct(self) -> Self:
        """Each row once."""
        return self.then(lambda rows: rows.unique())

    def compute(self, computed: Computed, keep: Sequence[str] | None = None) -> Self:
        """Adds computed columns to the columns `keep` (default: all that do not have a computed column's name)."""
        kept = self._others(computed) if keep is None else keep
        return self.map_batches(
            _Compute(kept, [*computed.types], computed.kernel, computed.rows), {**self.arrow_types(kept), **computed.types}
        )

    def _others(self, computed: Computed) -> list[str]:
        return [name for name in self.columns if name not in computed.types]

    @abstractmethod
    def arrow_types(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        """Arrow types of some columns."""

    def stack(self, number: str, columns: Mapping[str, Sequence[str]], keep: Sequence[str] = ()) -> Self:
        """Turns columns into rows. The i-th row of a row has i in the column `number` (int), the i-th of each list in `columns`, and `keep`."""
        stacked = dict(zip(columns, self.arrow_types([names[0] for names in columns.values()]).values(), strict=True))
        return self.map_batches(_Stack(number, columns, keep), {**self.arrow_types(keep), number: pa.int32(), **stacked})

    @abstractmethod
    def map_batches(self, function: BatchFunction, types: Mapping[str, pa.DataType]) -> Self:
        """Applies a picklable function to the batches of each task. `types` are those of the columns it returns, in order."""

    @abstractmethod
    def map_sorted(
        self, by: Sequence[str], order: Sequence[str], function: BatchFunction, types: Mapping[str, pa.DataType]
    ) -> Self:
        """`map_batches` over rows in the order of `by` and `order`; all rows with equal values of `by` come in one call.

        PromiseError if the rows are not in order.
        """

    @abstractmethod
    def balance(self, key: Sequence[str], cost: Computed, rows: int) -> Self:
        """The rows, about `rows` with unique keys, in tasks of about equal sums of `cost`, one computed column of whole numbers."""

    def batches_by_rows(self, rows: int = 16_384) -> AbstractContextManager[None]:
        """Within it, an engine that would measure the bytes of each row for a kernel counts the rows alone, at most so many a batch."""
        return nullcontext()

    def unmeasured(self, columns: Sequence[str]) -> AbstractContextManager[None]:
        """Within it, rows of these columns are not measured before they reach a kernel, if their types are small and of fixed size."""
        return nullcontext()

    def coalesce(self, tasks: int) -> Self:
        """The same rows in at most this many tasks, each of which writes a file."""
        return self

    @abstractmethod
    def persist(self) -> Self:
        """Computes the rows once and keeps them until `unpersist`."""

    @abstractmethod
    def unpersist(self) -> None:
        """Frees persisted rows."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """The rows in memory."""

    def rows(self) -> list[dict[str, Any]]:
        """The rows as Python values."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    def count(self) -> int:
        """The number of rows."""
        return int(self.group([], n_rows=count_rows()).rows()[0]["n_rows"])


@contextmanager
def persisting() -> Iterator[Callable[[F], F]]:
    """A function that persists frames until the end of the block, whatever happens in it.

    Spark would take rows that stay persisted for those of a later, equal reading, even if files have changed since.
    """
    with ExitStack() as kept:

        def persist(frame: F) -> F:
            rows = frame.persist()
            kept.callback(rows.unpersist)
            return rows

        yield persist


@dataclass(frozen=True)
class _Compute:
    """Adds computed columns to batches."""

    kept: Sequence[str]
    computed: Sequence[str]
    kernel: Callable[[pa.RecordBatch], Sequence[pa.Array]]
    rows: int

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        for whole in batches:
            for batch in slices(whole, self.rows):
                arrays = [*(batch.column(name) for name in self.kept), *self.kernel(batch)]
                yield pa.RecordBatch.from_arrays(arrays, [*self.kept, *self.computed])


def slices(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    """Cuts a batch into parts of at most `rows` rows; 0 for the whole batch."""
    for start in range(0, batch.num_rows, rows) if rows else [0]:
        yield batch.slice(start, rows or None)


@dataclass(frozen=True)
class _Stack:
    """Stacks columns of batches."""

    number: str
    columns: Mapping[str, Sequence[str]]
    keep: Sequence[str]

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for i, names in enumerate(zip(*self.columns.values(), strict=True)):
                number = pa.repeat(pa.scalar(i, pa.int32()), batch.num_rows)
                arrays = [*(batch.column(c) for c in self.keep), number, *(batch.column(c) for c in names)]
                yield pa.RecordBatch.from_arrays(arrays, [*self.keep, self.number, *self.columns])


class Joined(NamedTuple):
    """A table whose values are joined.

    name: for messages. entity: the columns that identify an entity, in the order of the other rows' columns. time, known: the
    columns of the times from which a row holds, and at which it was known. values: new names by column. ttl: the time to live in
    microseconds.
    """

    name: str
    rows: Frame
    entity: Sequence[str]
    time: str
    known: str
    values: Mapping[str, str]
    ttl: int | None = None
