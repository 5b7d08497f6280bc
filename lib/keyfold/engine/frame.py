"""Rows of an engine, computed when a result is asked for.

An engine moves rows: it scans, keeps columns and rows, groups, joins, sorts and unites them. Their values are computed by kernels,
functions over Arrow batches, which are the same on every engine.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import narwhals as nw
import pyarrow as pa

from keyfold.engine.columns import count_rows, escape_name

Batches = Iterator[pa.RecordBatch]
BatchFunction = Callable[[Batches], Iterable[pa.RecordBatch]]


class KernelExpression(NamedTuple):
    """An expression of Spark that a picklable kernel computes from the arrays of SQL expressions, at most `rows` at a time."""

    kernel: Callable[[Sequence[pa.Array]], pa.Array]
    inputs: Sequence[str]
    type: pa.DataType
    rows: int


Expression = str | KernelExpression


class Computed(NamedTuple):
    """Columns that follow from the others of the same row.

    types: by name. kernel: their arrays, in that order, from a batch; must be picklable. sql: Spark SQL expressions with the same
    bits, in that order, for a frame of Spark, or a function that gives them; empty if there are none. shared: further expressions
    by name, which `sql` may use. rows: the most that the kernel takes at a time, 0 for any number.
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
    """Lazy rows. `then` applies a function of narwhals' frames to this one and to others of the same engine."""

    @abstractmethod
    def then(self, function: Callable[..., nw.LazyFrame[Any]], *others: "Frame") -> Self:
        """The frame that a function of narwhals' frames makes of this one and others."""

    @property
    @abstractmethod
    def types(self) -> dict[str, str]:
        """Type of each column by name, as Spark writes it, such as `bigint` or `decimal(10,2)`."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [*self.types]

    def select(self, names: Iterable[str]) -> Self:
        """Some columns, in this order."""
        escaped = [escape_name(name) for name in names]
        return self.then(lambda rows: rows.select(*escaped))

    def drop(self, *names: str) -> Self:
        """All columns but these."""
        return self.select(name for name in self.columns if name not in names)

    def rename(self, names: Mapping[str, str]) -> Self:
        """The columns, some with new names."""
        escaped = {escape_name(old): escape_name(new) for old, new in names.items()}
        return self.then(lambda rows: rows.rename(escaped))

    def where(self, *conditions: nw.Expr) -> Self:
        """The rows for which all conditions are true."""
        return self.then(lambda rows: rows.filter(*conditions))

    def with_columns(self, columns: Mapping[str, nw.Expr]) -> Self:
        """All columns and further ones, or ones in place of those with the same name."""
        named = [expression.alias(escape_name(name)) for name, expression in columns.items()]
        return self.then(lambda rows: rows.with_columns(*named) if named else rows)

    def group(self, by: Sequence[str], **aggregates: nw.Expr) -> Self:
        """A row for each tuple of values, NULL included, with aggregates of its rows."""
        keys = [escape_name(name) for name in by]
        named = [expression.alias(escape_name(name)) for name, expression in aggregates.items()]
        return self.then(lambda rows: rows.group_by(*keys).agg(*named) if keys else rows.select(*named))

    def join(self, other: "Frame", on: Sequence[str], how: str = "inner") -> Self:
        """Rows joined by equal values, of which NULL is none; `how` is inner, left, semi or anti."""
        keys: Any = [escape_name(name) for name in on]
        kind: Any = how
        return self.then(lambda rows, others: rows.join(others, on=keys, how=kind), other)

    def union(self, *others: "Frame") -> Self:
        """The rows of frames with the same columns, in the order of this one's."""
        order = [escape_name(name) for name in self.columns]
        return self.then(lambda *frames: nw.concat([frame.select(*order) for frame in frames]), *others)

    def sort(self, names: Sequence[str], *, descending: Sequence[str] = ()) -> Self:
        """The rows in order; NULL comes first, also of a descending column; NaN is the largest number."""
        escaped, down = [escape_name(name) for name in names], [name in descending for name in names]

        def order(rows: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
            return rows.sort(*escaped, descending=down)

        return self.then(order)

    def head(self, n: int) -> Self:
        """The first rows."""
        return self.then(lambda rows: rows.head(n))

    def distinct(self) -> Self:
        """Each row once."""
        return self.then(lambda rows: rows.unique())

    def compute(self, computed: Computed, keep: Sequence[str] | None = None) -> Self:
        """The columns `keep`, or all but those with a name of a computed one, and the computed ones."""
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
        """Several rows of each row: the i-th has i in `number` (int), under each name of `columns` the i-th one, and those of `keep`."""
        stacked = dict(zip(columns, self.arrow_types([names[0] for names in columns.values()]).values(), strict=True))
        return self.map_batches(_Stack(number, columns, keep), {**self.arrow_types(keep), number: pa.int32(), **stacked})

    @abstractmethod
    def map_batches(self, function: BatchFunction, types: Mapping[str, pa.DataType]) -> Self:
        """The rows that a picklable function makes of the batches of each task; `types` are those of its columns, in order."""

    @abstractmethod
    def map_sorted(
        self, by: Sequence[str], order: Sequence[str], function: BatchFunction, types: Mapping[str, pa.DataType]
    ) -> Self:
        """`map_batches` over rows of which those with equal values of `by` are together, in an order; a task has all of them."""

    def batches_by_rows(self) -> AbstractContextManager[None]:
        """Within it, an engine that would measure the bytes of each row for a kernel counts the rows alone."""
        return nullcontext()

    def unmeasured(self, columns: Sequence[str]) -> AbstractContextManager[None]:
        """Within it, a kernel gets the rows of these columns unmeasured if their types have one small size."""
        return nullcontext()

    def coalesce(self, tasks: int) -> Self:
        """The same rows, which an engine that writes a file for each task writes to at most so many."""
        return self

    @abstractmethod
    def persist(self) -> Self:
        """The same rows, computed once; `unpersist` frees them."""

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
    """A batch in parts of at most `rows`; 0 for the whole."""
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
