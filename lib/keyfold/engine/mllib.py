"""Columns of MLlib vectors in Spark DataFrames."""

from typing import TYPE_CHECKING

from keyfold.engine.arrow import map_batches
from keyfold.engine.frame import BatchFunction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def map_to_vectors(rows: "DataFrame", function: BatchFunction, kept: int, into: str) -> "DataFrame":
    """The first `kept` columns, and a column `into` of the vectors that a picklable function makes of each task's batches."""
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import StructField, StructType

    schema = StructType([*rows.schema.fields[:kept], StructField(into, VectorUDT(), nullable=False)])
    return map_batches(rows, function, schema)
