"""Frames over Spark DataFrames."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

import narwhals as nw
import pyarrow as pa

from keyfold.core import sql
from keyfold.engine import arrow, spark_columns
from keyfold.engine import functions as F
from keyfold.engine.columns import escape_name, unescape_name
from keyfold.engine.frame import BatchFunction, Computed, Expression, Frame, Joined, KernelExpression
from keyfold.engine.session import PLANNING, arrow_batch_settings, parallel_tasks, temporary_settings
from keyfold.engine.sorted_batches import InOrder
from keyfold.errors import ConfError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType


# To apply a byte limit, Spark measures a batch after each row, which takes as long as writing it. A limit of rows is enough.
_ARROW_SETTINGS = {
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
    "spark.sql.execution.pandas.udf.buffer.size": str(1 << 20),
}
_BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"


class SparkFrame(Frame):
    """A DataFrame, in `data`."""

    def __init__(self, data: "DataFrame") -> None:
        self.data = data

    def then(self, function: Callable[..., nw.LazyFrame[Any]], *others: Frame) -> Self:
        """Applies a function of narwhals frames to this frame and others of Spark."""
        frames = [nw.from_native(_renamed(frame.data, escape_name)) for frame in (self, *others) if isinstance(frame, SparkFrame)]
        return type(self)(_renamed(function(*frames).to_native(), unescape_name))

    @property
    def types(self) -> dict[str, str]:
        """Spark's name of each column's type, by column."""
        return {field.name: field.dataType.simpleString() for field in self.data.schema.fields}

    def compute(self, computed: Computed, keep: Sequence[str] | None = None) -> Self:
        """Adds computed columns, by Spark SQL if there are expressions. `keep` may hold Columns too."""
        expressions = [_column(expression) for expression in computed.expressions]
        if not expressions:
            return super().compute(computed, keep)
        shared = [spark_columns.column(text).alias(name) for name, text in computed.shared.items()]
        data = self.data.select("*", *shared) if shared else self.data
        kept: list[Any] = self._others(computed) if keep is None else [*keep]
        whole = not shared and kept == self.data.columns
        columns = ["*"] if whole else [spark_columns.col(c) if isinstance(c, str) else c for c in kept]
        result = data.select(*columns, *expressions)
        return type(self)(result.toDF(*result.columns[: len(kept)], *computed.types))  # `Column.alias` takes a millisecond

    def stack(self, number: str, columns: Mapping[str, Sequence[str]], keep: Sequence[str] = ()) -> Self:
        """Turns columns into rows with Spark's `inline`."""
        structs = []
        for i, names in enumerate(zip(*columns.values(), strict=True)):
            values = zip([str(i), *map(sql.column_reference, names)], [number, *columns], strict=True)
            structs.append(f"struct({', '.join(f'{value} AS {sql.quote_identifier(name)}' for value, name in values)})")
        return type(self)(
            self.data.select(*map(spark_columns.col, keep), spark_columns.column(f"inline({sql.array_expression(structs)})"))
        )

    def map_batches(self, function: BatchFunction, types: Mapping[str, pa.DataType]) -> Self:
        """Applies a function to the batches of each task."""
        return type(self)(arrow.map_batches(self.data, function, spark_schema(pa.schema(list(types.items())))))

    def map_sorted(
        self, by: Sequence[str], order: Sequence[str], function: BatchFunction, types: Mapping[str, pa.DataType]
    ) -> Self:
        """`map_batches` over sorted rows: one exchange, one sort."""
        return self.clustered(by, order, None if by else 1).map_batches(InOrder(function, [*by, *order]), types)

    def clustered(self, by: Sequence[str], order: Sequence[str], tasks: int | None = None) -> Self:
        """The rows after one exchange and one sort."""
        keys: list[Any] = [*([tasks] if tasks else []), *map(spark_columns.col, by)]
        return type(self)(self.data.repartition(*keys).sortWithinPartitions(*map(spark_columns.col, [*by, *order])))

    def balance(self, key: Sequence[str], cost: Computed, rows: int) -> Self:
        """The rows in tasks of about equal costs: they are dealt to the tasks from the largest to the smallest, back and forth."""
        from pyspark.sql import Window

        task, keys, tasks = (
            "keyfold_task",
            [*map(spark_columns.col, key)],
            max(1, min(rows, 4 * parallel_tasks(self.data.sparkSession))),
        )
        costs = type(self)(self.data.repartition(tasks)).compute(cost, key).data
        (name,) = map(spark_columns.col, cost.types)
        place = (F.row_number().over(Window.orderBy(name.desc(), *keys)) - 1) % (2 * tasks)
        dealt = costs.select(*keys, F.when(place < tasks, place).otherwise(2 * tasks - 1 - place).alias(task))
        return type(self)(self.data.join(dealt, [*key]).repartitionById(tasks, spark_columns.col(task)).drop(task))

    def arrow_types(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        """Arrow types of some columns."""
        from pyspark.sql.pandas.types import to_arrow_type

        return {name: to_arrow_type(self.data.schema[name].dataType) for name in names}

    def batches_by_rows(self, rows: int = 16_384) -> AbstractContextManager[None]:
        """Within it, Spark counts the rows of a batch alone: to measure their bytes takes as long as to write them."""
        return temporary_settings(self.data.sparkSession, _ARROW_SETTINGS | {_BATCH: str(rows)})

    def unmeasured(self, columns: Sequence[str]) -> AbstractContextManager[None]:
        """Within it, Spark does not measure rows of these columns, if their types are small and of fixed size."""
        return temporary_settings(self.data.sparkSession, arrow_batch_settings(self.data.schema, columns))

    def coalesce(self, tasks: int) -> Self:
        """The same rows in at most this many tasks."""
        return type(self)(self.data.coalesce(tasks))

    def as_of(self, entity: Sequence[str], time: str, others: "Sequence[Joined]") -> "tuple[SparkFrame, list[int]]":  # type: ignore[override]
        """The rows with the values of other tables as of the column `time`."""
        from keyfold.engine.spark_as_of import join_as_of

        return join_as_of(self, entity, time, others)

    def persist(self) -> Self:
        """Computes the rows once and keeps them until `unpersist`."""
        with temporary_settings(self.data.sparkSession, PLANNING):
            return type(self)(self.data.persist())

    def unpersist(self) -> None:
        """Frees persisted rows."""
        self.data.unpersist()

    def to_arrow(self) -> pa.Table:
        """The rows in memory."""
        with temporary_settings(self.data.sparkSession, PLANNING):
            return self.data.toArrow()


def data_of(frame: Frame) -> "DataFrame":
    """The DataFrame of a frame (ConfError if the frame is not of Spark)."""
    if isinstance(frame, SparkFrame):
        return frame.data
    raise ConfError("these rows must be read by Spark, and the engine is `embedded`; write `engine: spark`")


def computed_column(computed: Computed) -> "Column":
    """The Spark Column of the only computed column."""
    (expression,) = computed.expressions
    return _column(expression)


def _column(expression: Expression) -> "Column":
    if isinstance(expression, str):
        return spark_columns.column(expression)
    from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]
    from pyspark.sql.pandas.types import from_arrow_type

    compute = arrow_udf(_by_rows(expression), from_arrow_type(expression.type))
    return compute(*map(spark_columns.column, expression.inputs))


def _by_rows(expression: KernelExpression) -> Callable[[Iterator[pa.Array]], Iterator[pa.Array]]:
    kernel, rows = expression.kernel, expression.rows

    def compute(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            arrays = batch if isinstance(batch, tuple) else (batch,)  # Spark passes a single column without a tuple
            for start in range(0, len(arrays[0]), rows):
                yield kernel([array.slice(start, rows) for array in arrays])

    return compute


def _renamed(data: "DataFrame", name_of: Callable[[str], str]) -> "DataFrame":
    names = [name_of(name) for name in data.columns]
    return data if names == data.columns else data.toDF(*names)


def spark_schema(schema: pa.Schema) -> "StructType":
    """The Spark schema for an Arrow schema."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema, prefer_timestamp_ntz=True)
