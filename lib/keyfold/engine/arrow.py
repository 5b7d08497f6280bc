"""Functions over Arrow batches in Spark's Python workers."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from keyfold.engine.frame import Batches, BatchFunction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


def map_batches(frame: "DataFrame", function: BatchFunction, schema: "StructType | str") -> "DataFrame":
    """Applies a picklable function to the batches of each task. Column names may hold any character.

    schema: of the batches that `function` yields; Spark matches columns by position.
    """
    names = frame.columns
    # PySpark's mapInArrow cannot find a column whose name has dots or back-quotes.
    numbered = frame.toDF(*(f"_{i}" for i in range(len(names))))
    return numbered.mapInArrow(partial(_with_names, function, names), schema)


def _with_names(function: BatchFunction, names: Sequence[str], batches: Batches) -> Iterable[pa.RecordBatch]:
    return function(batch.rename_columns(names) for batch in batches)
