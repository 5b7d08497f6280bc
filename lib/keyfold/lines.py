"""On which line of its file a row stands. Spark does not say, so the files that hold bad rows are read once more, as lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keyfold.sources import FILE, file_of
from keyfold.sql import col

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from keyfold.sources import Text

LINE, RAW = "keyfold_line", "keyfold_raw"
_WHOLE = {f"spark.sql.files.{size}": str(1 << 50) for size in ("maxPartitionBytes", "openCostInBytes")}


@contextmanager
def countable(spark: "SparkSession") -> Iterator[None]:
    """While this lasts, a file that is read is one partition: the number of a row in it is that of its line."""
    from keyfold.spark import set_for_now

    with set_for_now(spark, _WHOLE):
        yield


def located(rows: "DataFrame", files: Sequence[str], text: "Text") -> "DataFrame":
    """`rows` with their line; to be written while files are `countable`.

    Rows are found by what they hold. Lines that are alike are all bad, so it does not matter which row has which.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    lines = rows.sparkSession.read.text(list(files))
    number = F.monotonically_increasing_id().bitwiseAND((1 << 33) - 1) + 1
    numbered = lines.select("value", file_of(lines).alias(FILE), number.alias(LINE)).where(F.trim("value") != "")
    numbered = numbered.select(FILE, LINE, text.raw(F.col("value")).alias(RAW))
    wanted = numbered.join(rows.select(FILE, RAW).distinct(), [FILE, RAW], "left_semi")
    same = Window.partitionBy(FILE, RAW)
    nth = F.row_number().over(same.orderBy(LINE))
    # A row that looks like the header is not the header itself.
    found = wanted.withColumn("keyfold_nth", nth - F.when(col(RAW) == text.header(), 1).otherwise(0))
    ranked = rows.withColumn("keyfold_nth", F.row_number().over(same.orderBy(F.lit(0))))
    return ranked.join(found, [FILE, RAW, "keyfold_nth"], "left").drop("keyfold_nth")
