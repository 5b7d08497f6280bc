"""Engines store and move rows: Spark on a cluster or for data beyond one machine, the embedded engine for all else."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa

from keyfold.core.machine import cores, memory_limit
from keyfold.engine.arrow_types import arrow_schema
from keyfold.engine.deltalake_store import DeltalakeStore
from keyfold.engine.embedded_frame import Database, EmbeddedFrame
from keyfold.engine.frame import Frame
from keyfold.engine.launcher import Launcher, LocalLauncher, SparkLauncher
from keyfold.engine.parallel import map_in_processes, with_one_thread
from keyfold.engine.spark_files import read_files
from keyfold.engine.spark_frame import SparkFrame, spark_schema
from keyfold.engine.spark_store import SparkStore
from keyfold.engine.spill import SpillFolder, spill_parent
from keyfold.engine.store import Store
from keyfold.errors import ConfError

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

AnyRows = TypeVar("AnyRows", bound="Frame | DataFrame | pa.Table")  # the form in which a function gets rows and returns them
_SHARE = 0.6  # of the memory is for sorts, groups and joins; kernels and models need the rest


class Engine(ABC):
    """Creates frames, runs tasks and opens tables."""

    name: str

    @property
    @abstractmethod
    def tasks(self) -> int:
        """The number of tasks that run at once."""

    @abstractmethod
    def frame(self, table: pa.Table) -> Frame:
        """Local rows as a frame."""

    def rows(self, rows: Sequence[tuple[Any, ...]], columns: str) -> Frame:
        """A few local rows as a frame; `columns` in Spark's notation: `name type, name type`."""
        schema = arrow_schema(columns)
        values = zip(*rows, strict=True) if rows else [()] * len(schema)
        arrays = [pa.array(cells, field.type) for cells, field in zip(values, schema, strict=True)]
        return self.frame(pa.table(arrays, schema=schema))

    @abstractmethod
    def map_tasks(
        self, function: Callable[[Any], Iterable[pa.RecordBatch]], tasks: Sequence[Any], types: Mapping[str, pa.DataType]
    ) -> Frame:  # fmt: skip
        """A frame of the rows that a picklable function yields for each task."""

    @abstractmethod
    def map_shared(
        self, function: Callable[[Any, Any], Any], shared: Any, most: int
    ) -> AbstractContextManager[Callable[[Sequence[Any]], list[Any]]]:  # fmt: skip
        """Runs a picklable `function(shared, task)` for each task, at most `most` at once, each on one thread. Sends `shared` once."""

    @property
    @abstractmethod
    def launcher(self) -> Launcher:
        """Launches processes that work together."""

    @abstractmethod
    def read_files(self, names: Sequence[str]) -> Frame:
        """`file`, a name, and `content`, its bytes (ConfError for a file that only Spark can read)."""

    @abstractmethod
    def store(self, name: str, path: Path | None) -> Store:
        """Reads and writes a Delta table, in a folder or (`path` is None) in a catalog."""

    @property
    def spark(self) -> "SparkSession":
        """Spark's session (ConfError if the engine is another)."""
        raise ConfError("this needs Spark, and the engine is `embedded`; write `engine: spark`")


class SparkEngine(Engine):
    """Spark, through a session."""

    name = "spark"

    def __init__(self, spark: "SparkSession") -> None:
        self._spark = spark

    @property
    def spark(self) -> "SparkSession":
        """The session."""
        return self._spark

    @property
    def tasks(self) -> int:
        """The number of tasks that run at once, according to the session's settings."""
        from keyfold.engine.session import parallel_tasks

        return parallel_tasks(self._spark)

    def frame(self, table: pa.Table) -> SparkFrame:
        """Local rows as a frame of one partition."""
        return SparkFrame(self._spark.createDataFrame(table, schema=spark_schema(table.schema)).coalesce(1))

    def map_tasks(
        self, function: Callable[[Any], Iterable[pa.RecordBatch]], tasks: Sequence[Any], types: Mapping[str, pa.DataType]
    ) -> SparkFrame:  # fmt: skip
        """A frame of the rows that a function yields for each task, in Spark's workers."""
        numbers = self._spark.range(0, len(tasks), 1, max(1, len(tasks)))
        return SparkFrame(numbers).map_batches(partial(_run_tasks, function, tasks), types)

    @contextmanager
    def map_shared(
        self, function: Callable[[Any, Any], Any], shared: Any, most: int
    ) -> Iterator[Callable[[Sequence[Any]], list[Any]]]:  # fmt: skip
        """Runs `function(shared, task)` for each task, all in one Spark job."""
        context = self._spark.sparkContext
        sent = context.broadcast(shared)
        try:
            yield (
                lambda tasks: (
                    context.parallelize(tasks, len(tasks))
                    .map(lambda task: with_one_thread(lambda: function(sent.value, task)))
                    .collect()
                )
            )
        finally:
            sent.destroy()

    @property
    def launcher(self) -> SparkLauncher:
        """Launches processes that work together as Spark tasks."""
        return SparkLauncher(self._spark)

    def read_files(self, names: Sequence[str]) -> SparkFrame:
        """The names and the bytes of files."""
        return read_files(self._spark, names)

    def store(self, name: str, path: Path | None) -> SparkStore:
        """Reads and writes a Delta table through the session."""
        return SparkStore(self._spark, name, path)


def _run_tasks(
    function: Callable[[Any], Iterable[pa.RecordBatch]], tasks: Sequence[Any], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    for batch in batches:
        for i in batch.column(0).to_pylist():
            yield from function(tasks[i])


class EmbeddedEngine(Engine):
    """DuckDB and kernels in this process."""

    name = "embedded"

    @cached_property
    def database(self) -> Database:
        """The database."""
        return Database(f"{int(memory_limit() * _SHARE)}B", SpillFolder(spill_parent()), self.tasks)

    @property
    def tasks(self) -> int:
        """The number of cores that this process may use."""
        return cores()

    def frame(self, table: pa.Table) -> EmbeddedFrame:
        """Local rows as a frame."""
        return self.database.frame(table)

    def map_tasks(
        self, function: Callable[[Any], Iterable[pa.RecordBatch]], tasks: Sequence[Any], types: Mapping[str, pa.DataType]
    ) -> EmbeddedFrame:  # fmt: skip
        """A frame of the rows that a function yields for each task, in threads."""
        return self.database.map_tasks(function, tasks, types)

    def map_shared(
        self, function: Callable[[Any, Any], Any], shared: Any, most: int
    ) -> AbstractContextManager[Callable[[Sequence[Any]], list[Any]]]:  # fmt: skip
        """Runs `function(shared, task)` for each task, in processes."""
        return map_in_processes(function, shared, min(most, self.tasks))

    @property
    def launcher(self) -> LocalLauncher:
        """Launches processes that work together on this machine."""
        return LocalLauncher(self.tasks)

    def read_files(self, names: Sequence[str]) -> EmbeddedFrame:
        """The names and the bytes of local files."""
        if remote := next((name for name in names if not Path(name).is_absolute()), None):
            raise ConfError(f"{remote} is on no disk of this machine, and is read by Spark; write `engine: spark`")
        return self.map_tasks(_read_file, names, {"file": pa.string(), "content": pa.binary()})

    def store(self, name: str, path: Path | None) -> DeltalakeStore:
        """Reads and writes a Delta table with deltalake (ConfError if it is in a catalog)."""
        if path is None:
            raise ConfError(f"table `{name}` is in a catalog, which needs Spark; write `engine: spark`")
        return DeltalakeStore(self.database, name, path)


def _read_file(name: str) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_arrays([[name], [Path(name).read_bytes()]], ["file", "content"])


def as_engine(engine: "Engine | SparkSession") -> Engine:
    """The engine itself, or the Spark engine of a session."""
    return engine if isinstance(engine, Engine) else SparkEngine(engine)


@cache
def embedded() -> EmbeddedEngine:
    """The embedded engine of this process."""
    return EmbeddedEngine()


def frame_of(rows: "Frame | DataFrame | pa.Table | pd.DataFrame") -> Frame:
    """Rows as a frame: of Spark for a Spark DataFrame, of the embedded engine for rows in memory."""
    if isinstance(rows, Frame):
        return rows
    if type(rows).__module__.startswith("pyspark."):
        return SparkFrame(cast("DataFrame", rows))
    return embedded().frame(rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False))


def as_given(frame: Frame, rows: AnyRows) -> AnyRows:
    """A frame that was made of `rows`, in their form: a frame, a Spark DataFrame, or an Arrow table for rows in memory."""
    made: Any = frame
    if isinstance(rows, Frame):
        return made  # type: ignore[no-any-return]
    return made.data if isinstance(frame, SparkFrame) else made.to_arrow()  # type: ignore[no-any-return]
