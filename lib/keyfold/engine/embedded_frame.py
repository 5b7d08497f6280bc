"""Frames of the embedded engine: DuckDB sorts, groups and joins, kernels compute on Arrow batches.

A frame is a recipe that builds a DuckDB relation each time a result is needed, so a frame can be read several times. A relation that a
kernel reads has its own connection, because DuckDB runs one query at a time per connection.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import narwhals as nw
import pyarrow as pa

from keyfold.engine.arrow_types import type_name
from keyfold.engine.columns import escape_name, unescape_name
from keyfold.engine.each_row import EachRow, are_plain, with_types
from keyfold.engine.frame import BatchFunction, Computed, Frame, Joined, slices
from keyfold.engine.local_rows import KeptRows, Recipe, local_rows
from keyfold.engine.parallel import map_in_threads
from keyfold.engine.sorted_batches import InOrder, joined, map_runs, whole_groups
from keyfold.engine.spill import SpillFolder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH, _FILES = 20_480, 256  # rows; of binary columns, which may hold whole files
_JOINED, _JOINED_BYTES = 61_440, 16 << 20  # rows and bytes of small batches that a kernel gets as one: each call takes some time
_TURN = 16  # rows that a thread takes at a time, if each of them takes long
_HUGE = "HUGEINT"  # DuckDB's type of sums of integers; Arrow receives them as decimals with 38 digits


class EmbeddedFrame(Frame):
    """Builds a relation of a database."""

    _kept: "KeptRows | None" = None
    _stream: "_Stream | None" = None  # the rows, if a kernel makes them
    _source: "_Source | None" = None  # the rows that these are made of one by one

    def __init__(self, database: "Database", recipe: Recipe) -> None:
        self.database, self.recipe = database, recipe

    @classmethod
    def of_stream(cls, stream: "_Stream") -> Self:
        """The rows that a kernel makes."""
        frame = cls(stream.database, stream.relation)
        frame._stream, frame.schema = stream, stream.schema
        return frame

    def then(self, function: Callable[..., nw.LazyFrame[Any]], *others: Frame) -> Self:
        """Applies a function of narwhals frames to this frame and others of the embedded engine."""
        recipes = [frame.recipe for frame in (self, *others) if isinstance(frame, EmbeddedFrame)]
        return type(self)(self.database, lambda connection: function(*(recipe(connection) for recipe in recipes)))

    def _derive(self, step: "Callable[[EmbeddedFrame], EmbeddedFrame]", made: Self, replaced: Iterable[str] = ()) -> Self:
        made._source = _Source(self, step, frozenset(replaced))
        return made

    def where(self, *conditions: nw.Expr) -> Self:
        """The rows for which all conditions are true."""
        made = super().where(*conditions)
        if self._stream and are_plain(conditions, self.schema):
            made = self.of_stream(self._stream.then(EachRow(lambda rows: rows.filter(*conditions)), self.schema))
        return self._derive(lambda rows: rows.where(*conditions), made)

    def select(self, names: Iterable[str]) -> Self:
        """These columns, in this order."""
        chosen = [*names]
        if self._stream:
            schema = pa.schema([self.schema.field(name) for name in chosen])
            made = self.of_stream(self._stream.then(partial(map, lambda batch: batch.select(chosen)), schema))
        else:
            made = super().select(chosen)
        return self._derive(lambda rows: rows.select(chosen), made)

    def with_constants(self, constants: Mapping[str, pa.Scalar]) -> Self:
        """Adds columns with one value each. DuckDB takes long to read maps that a kernel makes, so they do not pass through it."""
        if not self._stream:
            return super().with_constants(constants)
        schema = pa.schema([*self.schema, *((name, value.type) for name, value in constants.items())])
        return self.of_stream(self._stream.then(partial(map, partial(_add_constants, schema, [*constants.values()])), schema))

    def with_columns(self, columns: Mapping[str, nw.Expr]) -> Self:
        """Adds columns, or replaces those with the same name."""
        if not columns:
            return self
        made = super().with_columns(columns)
        if self._stream and are_plain(columns.values(), self.schema):
            named = [expression.alias(escape_name(name)) for name, expression in columns.items()]
            schema = with_types(self.schema, {name: made.schema.field(name).type for name in columns})
            made = self.of_stream(self._stream.then(EachRow(lambda rows: rows.with_columns(*named)), schema))
        return self._derive(lambda rows: rows.with_columns(columns), made, columns)

    def compute(self, computed: Computed, keep: Sequence[str] | None = None) -> Self:
        """Adds computed columns to the columns `keep` (default: all that do not have a computed column's name)."""
        return self._derive(lambda rows: rows.compute(computed, keep), super().compute(computed, keep), computed.types)

    def among(self, name: str, values: Sequence[Any]) -> "EmbeddedFrame":  # type: ignore[override]
        """The rows whose value of a column is one of these, before kernels that do not change it: DuckDB cannot look through them."""
        source = self._source
        if source and name not in source.replaced and name in source.rows.columns:
            return source.step(source.rows.among(name, values))
        return super().among(name, values)

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the columns."""
        with self.database.cursor() as connection:
            relation: Any = self.recipe(connection).to_native()
            types, arrow = map(str, relation.types), relation.limit(0).to_arrow_table().schema
        return pa.schema(
            [(unescape_name(field.name), _plain_type(field.type, type_)) for field, type_ in zip(arrow, types, strict=True)]
        )

    @property
    def types(self) -> dict[str, str]:
        """Spark's name of each column's type, by column."""
        return {field.name: type_name(field.type) for field in self.schema}

    def arrow_types(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        """Arrow types of some columns."""
        return {name: self.schema.field(name).type for name in names}

    def map_batches(self, function: BatchFunction, types: Mapping[str, pa.DataType]) -> Self:
        """The rows that a function makes of all batches."""
        schema = pa.schema(list(types.items()))
        if self._stream and self._stream.is_of_batches:
            return self.of_stream(self._stream.then(function, schema))
        return self.of_stream(_Stream(self.database, self.batches, function, schema))

    def map_sorted(
        self, by: Sequence[str], order: Sequence[str], function: BatchFunction, types: Mapping[str, pa.DataType]
    ) -> Self:
        """`map_batches` over the sorted rows, a run of whole groups at a time."""
        ordered = self.clustered(by, order)
        runs = partial(map_runs, InOrder(function, [*by, *order]))
        return self.of_stream(
            _Stream(
                self.database,
                lambda: whole_groups(ordered.batches(), by),
                runs,
                pa.schema(list(types.items())),
                is_of_batches=False,
            )
        )

    def balance(self, key: Sequence[str], cost: Computed, rows: int) -> Self:
        """The rows in small batches, which the threads take in turn."""
        size = max(1, min(_TURN, rows // (4 * self.database.threads)))
        return self.of_stream(_Stream(self.database, lambda: _cut(size, self.batches()), iter, self.schema))

    def clustered(self, by: Sequence[str], order: Sequence[str], tasks: int | None = None) -> Self:
        """The sorted rows."""
        return self.sort([*by, *order])

    def as_of(self, entity: Sequence[str], time: str, others: "Sequence[Joined]") -> "tuple[EmbeddedFrame, list[int]]":  # type: ignore[override]
        """The rows with the values of other tables as of the column `time`."""
        from keyfold.engine.embedded_as_of import join_as_of

        return join_as_of(self, entity, time, others)

    def persist(self) -> Self:
        """Computes the rows once and keeps them until `unpersist`."""
        kept = KeptRows.of(self._own_batches(), self.schema, self.database.spill.path)
        frame = type(self)(self.database, kept.recipe)
        frame._kept = kept
        return frame

    def unpersist(self) -> None:
        """Frees persisted rows."""
        if self._kept:
            self._kept.free()

    def to_arrow(self) -> pa.Table:
        """The rows in memory."""
        return pa.Table.from_batches(self._own_batches(), self.schema)

    def _own_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows to keep in memory: copies of what a kernel makes, whose columns may hold all those of a batch of DuckDB."""
        return (pa.concat_batches([batch]) for batch in self.batches()) if self._stream else self.batches()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, a batch at a time. What a kernel raises comes through as it is."""
        if self._stream:
            yield from self._stream.batches()
            return
        with self.database.cursor() as connection:
            try:
                relation: Any = self.recipe(connection).to_native()
                rows = _batch_rows(self.schema)
                batches = (_as_schema(batch, self.schema) for batch in relation.to_arrow_reader(rows))
                yield from _in_larger(batches) if rows == _BATCH else batches
            except Exception as error:  # noqa: BLE001  (raised again)
                raise self.database.cause_of(error) from None


class _Source(NamedTuple):
    """The rows of a frame before its last step, which makes one or no row of each, and the columns that the step sets."""

    rows: EmbeddedFrame
    step: Callable[[EmbeddedFrame], EmbeddedFrame]
    replaced: frozenset[str]


class Database:
    """A DuckDB database in memory that spills to a folder."""

    def __init__(self, memory: str, spill: SpillFolder, threads: int) -> None:
        import duckdb

        settings: dict[str, Any] = {"memory_limit": memory, "temp_directory": str(spill.path), "threads": threads}
        self._root = duckdb.connect(":memory:", config=settings)
        self._root.execute("SET GLOBAL TimeZone = 'UTC'")
        self._root.execute("SET GLOBAL asof_loop_join_threshold = 0")  # nobody knows beforehand how many rows a kernel makes
        self._raised: list[BaseException] = []
        self.threads, self.spill = threads, spill

    def cursor(self) -> "DuckDBPyConnection":
        """A new connection."""
        return self._root.cursor()

    def frame(self, table: pa.Table) -> EmbeddedFrame:
        """Local rows as a frame."""
        return EmbeddedFrame(self, local_rows(table))

    def map_tasks(
        self, function: Callable[[Any], Iterable[pa.RecordBatch]], tasks: Sequence[Any], types: Mapping[str, pa.DataType]
    ) -> EmbeddedFrame:  # fmt: skip
        """A frame of the rows that a function yields for each task."""

        def run(items: Iterator[Any]) -> Iterator[pa.RecordBatch]:
            for task in items:
                yield from function(task)

        schema = pa.schema(list(types.items()))
        return EmbeddedFrame.of_stream(_Stream(self, lambda: iter(tasks), run, schema, is_of_batches=False))

    def keep(self, error: BaseException) -> None:
        """Keeps the error of a kernel, because DuckDB passes on only its text."""
        self._raised.append(error)

    def cause_of(self, error: Exception) -> BaseException:
        """The error of a kernel that caused this one, otherwise this one."""
        raised, self._raised = self._raised, []
        return raised[0] if raised else error


def _add_constants(schema: pa.Schema, constants: Sequence[pa.Scalar], batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [pa.repeat(value, batch.num_rows) for value in constants]
    return pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema)


def _batch_rows(schema: pa.Schema) -> int:
    return _FILES if any(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) for type_ in schema.types) else _BATCH


def _in_larger(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) > _JOINED - _BATCH or sum(one.nbytes for one in held) > _JOINED_BYTES:
            whole, held = joined(held), []
            yield whole
    if held:
        yield joined(held)


def _cut(rows: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return chain.from_iterable(slices(batch, rows) for batch in batches)


@dataclass(frozen=True)
class _Stream:
    """The rows that a kernel computes in threads, from batches or tasks. Each scan computes them again."""

    database: Database
    items: Callable[[], Iterator[Any]]
    kernel: Callable[[Iterator[Any]], Iterable[pa.RecordBatch]]
    schema: pa.Schema
    is_of_batches: bool = True  # a task or a group may take so long that the kernels after it need threads of their own

    def relation(self, connection: "DuckDBPyConnection") -> nw.LazyFrame[Any]:
        escaped = replace(self, schema=pa.schema([(escape_name(f.name), f.type) for f in self.schema]))
        return nw.from_native(connection.from_arrow(escaped))

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self._kept_errors()).__arrow_c_stream__(requested_schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        return map_in_threads(self._kernel, self.items(), self.database.threads)

    def then(self, kernel: BatchFunction, schema: pa.Schema) -> "_Stream":
        """The rows of one more kernel, which runs in the same threads."""

        def both(items: Iterator[Any]) -> Iterator[pa.RecordBatch]:
            with closing(self._kernel(items)) as made:  # also if the second kernel fails: the first may hold what others wait for
                yield from kernel(made)

        return replace(self, kernel=both, schema=schema)

    def _kernel(self, items: Iterator[Any]) -> "Generator[pa.RecordBatch]":
        made = self.kernel(items)
        try:
            for batch in made:
                yield _as_schema(batch, self.schema)
        finally:
            if isinstance(made, Generator):
                made.close()

    def _kept_errors(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.batches()
        except Exception as error:
            self.database.keep(error)
            raise


def _plain_type(type_: pa.DataType, of_database: str) -> pa.DataType:
    """The type of a column before DuckDB changed it: DuckDB widens sums of integers and changes the zone of times."""
    if of_database == _HUGE:
        return pa.int64()
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(type_) and type_.tz else type_


def _as_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return batch if batch.schema.equals(schema) else batch.rename_columns(schema.names).cast(schema)
