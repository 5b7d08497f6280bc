"""The as-of join of Spark: a window over one order of all rows and joined rows of an entity; large entities are cut into slices of time."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from keyfold.engine import functions as F
from keyfold.engine.as_of import from_the_future
from keyfold.engine.frame import Joined
from keyfold.engine.spark_columns import col
from keyfold.engine.spark_frame import SparkFrame, data_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_FIRST = -(2**63)  # before all times
_SHARE = 2  # an entity with more than this many even shares of the rows is cut into slices of time


def join_as_of(rows: SparkFrame, entity: Sequence[str], time: str, others: Sequence[Joined]) -> tuple[SparkFrame, list[int]]:
    """The rows with the values of other tables, and for each of these the number of rows whose entity it lacks. One exchange, one sort."""
    joined, unknown = _Timeline(rows.data, others, [*entity], time).join()
    return SparkFrame(joined), unknown


def _micros(time: str) -> "Column":
    """bigint: microseconds since 1970 of a date or timestamp, in UTC."""
    return F.unix_micros(col(time).cast("timestamp"))


class _Timeline:
    """Label rows and the rows of views of one entity as lines in one order: by entity, and by the time from which they count.

    `_kind` is 1 for a label row; each view has a column of structs, whose greatest so far is the row that is valid.
    """

    def __init__(self, labels: "DataFrame", views: Sequence[Joined], entity: list[str], time: str) -> None:
        self.labels, self.views, self.time = labels, views, time
        self.entity = [f"_e{i}" for i in range(len(entity))]
        self.columns = [f"_v{i}" for i in range(len(views))]
        named = [col(c).alias(e) for e, c in zip(self.entity, entity, strict=True)]
        row = F.struct(*map(col, labels.columns)).alias("_row")
        self.label_lines = labels.select(*named, _micros(time).alias("_at"), F.lit(1).alias("_kind"), row)
        first, *others = (self._view_lines(view, column) for view, column in zip(views, self.columns, strict=True))
        self.view_lines = first
        for lines in others:
            self.view_lines = self.view_lines.unionByName(lines, allowMissingColumns=True)

    @property
    def lines(self) -> "DataFrame":
        return self.label_lines.unionByName(self.view_lines, allowMissingColumns=True)

    def _view_lines(self, view: Joined, column: str) -> "DataFrame":
        valid = _micros(view.time)
        known = _micros(view.known) if view.known != view.time else valid
        values = F.struct(*(col(c).alias(f"f{i}") for i, c in enumerate(view.values)))
        # In this order, so that the greatest struct is the row with the latest time, and of those the one known last.
        value = F.struct(valid.alias("valid"), known.alias("known"), values.alias("of"), *_zeros(view))
        rows = data_of(view.rows).where(valid.isNotNull() & known.isNotNull())
        for name in view.entity:
            rows = rows.where(col(name).isNotNull())
        named = [col(c).alias(e) for c, e in zip(view.entity, self.entity, strict=True)]
        return rows.select(*named, F.greatest(valid, known).alias("_at"), F.lit(0).alias("_kind"), value.alias(column))

    def join(self) -> "tuple[DataFrame, list[int]]":
        """The label rows with the features of the views, and for each view the number of label rows whose entity it lacks."""
        from pyspark.sql import Window

        lines, by = self.lines, list(self.entity)
        cuts, unknown = self.cuts(lines)
        if cuts is not None:
            lines, by = self.cut(lines, cuts), [*by, "_slice"]
        so_far = Window.partitionBy(*by).orderBy("_at", "_kind").rowsBetween(Window.unboundedPreceding, Window.currentRow)
        latest = [F.max(c).over(so_far).alias(c) for c in self.columns]
        answers = lines.select("_at", "_kind", "_row", *latest).where("_kind = 1")
        own = [F.col("_row").getField(c).alias(c) for c in self.labels.columns]
        features = (f for view, column in zip(self.views, self.columns, strict=True) for f in self._features(view, column))
        return answers.select(*own, *features), unknown

    def _features(self, view: Joined, column: str) -> "Iterator[Column]":
        valid, known, at = F.col(f"{column}.valid"), F.col(f"{column}.known"), F.col("_at")
        broken = F.raise_error(F.lit(from_the_future(view.name)))
        holds = F.when(F.greatest(valid, known) > at, broken.cast("boolean")).otherwise(
            F.lit(True) if view.ttl is None else valid >= at - F.lit(view.ttl)
        )
        return (F.when(holds, F.col(f"{column}.of.f{i}")).alias(name) for i, name in enumerate(view.values.values()))

    # --- entities that a view does not have; entities with too many rows for one task ---

    def cuts(self, lines: "DataFrame") -> "tuple[DataFrame | None, list[int]]":
        """The times (`_cuts`) that cut each entity with too many lines for one task; None if there is no such entity; unknown rows."""
        per_view = [F.count(c).alias(c) for c in self.columns]
        counts = lines.groupBy(*self.entity).agg(F.count("*").alias("_n"), F.sum("_kind").alias("_labels"), *per_view).persist()
        try:
            unknown = [F.sum(F.when(F.col(c) == 0, F.col("_labels")).otherwise(0)) for c in self.columns]
            total, most, *unknown_rows = counts.agg(F.sum("_n"), F.max("_n"), *unknown).collect()[0]
            unknown_rows = [n or 0 for n in unknown_rows]
            share = max(1, math.ceil((total or 0) / _tasks(lines)))
            if (most or 0) <= _SHARE * share:
                return None, unknown_rows
            large = counts.select(*self.entity, "_n")
            rows = large.where(F.col("_n") > _SHARE * share).collect()
        finally:
            counts.unpersist()
        return self._cuts_of(lines, lines.sparkSession.createDataFrame(rows, large.schema), share, most), unknown_rows

    def _cuts_of(self, lines: "DataFrame", large: "DataFrame", share: int, most: int) -> "DataFrame":
        from pyspark.sql.types import ArrayType, LongType, StructField, StructType

        same = [lines[e].eqNullSafe(large[e]) for e in self.entity]
        times = lines.join(F.broadcast(large), same).select(*(large[e].alias(e) for e in self.entity), large["_n"], "_at")
        cuts = []
        parts = max(2, 4 * math.ceil(most / share))  # enough for the entity with most rows
        quantiles = F.percentile_approx("_at", [i / parts for i in range(parts)])
        for *names, n, at in times.groupBy(*self.entity, "_n").agg(quantiles).collect():
            slices = math.ceil(n / share)
            cuts.append((*names, sorted({at[round(i * len(at) / slices)] for i in range(1, slices)}) if at else []))
        schema = StructType([*large.schema.fields[:-1], StructField("_cuts", ArrayType(LongType()))])
        return lines.sparkSession.createDataFrame(cuts, schema)

    def cut(self, lines: "DataFrame", cuts: "DataFrame") -> "DataFrame":
        """The lines with their slice of time (`_slice`), and a line with the values that are valid when a slice begins."""
        from pyspark.sql import Window

        def with_slice(frame: "DataFrame", how: str) -> "DataFrame":
            same = [frame[e].eqNullSafe(cuts[e]) for e in self.entity]
            number = F.coalesce(F.size(F.filter("_cuts", lambda c: c <= F.col("_at"))), F.lit(0))
            number = F.when(F.col("_cuts").isNull() | F.col("_at").isNull(), 0).otherwise(number)
            both = frame.join(F.broadcast(cuts), same, how)
            return both.select(*(frame[c] for c in frame.columns), number.alias("_slice"), "_cuts")

        cells = (
            with_slice(self.view_lines, "inner").groupBy(*self.entity, "_slice").agg(*(F.max(c).alias(c) for c in self.columns))
        )
        slices = cuts.select(*self.entity, F.explode(F.sequence(F.lit(0), F.size("_cuts"))).alias("_slice"))
        before = Window.partitionBy(*self.entity).orderBy("_slice").rowsBetween(Window.unboundedPreceding, -1)
        carried = slices.join(cells, [*self.entity, "_slice"], "left").select(
            *self.entity, "_slice", F.lit(_FIRST).alias("_at"), F.lit(0).alias("_kind"),
            *(F.max(c).over(before).alias(c) for c in self.columns),
        )  # fmt: skip
        return with_slice(lines, "left").drop("_cuts").unionByName(carried, allowMissingColumns=True)


def _tasks(frame: "DataFrame") -> int:
    return int(frame.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1)


def _zeros(view: Joined) -> "list[Column]":
    """string: the zeros of a row as text, which orders rows whose values are equal but for the signs of zeros."""
    types = view.rows.types
    zeros = [F.when(col(c) == 0, col(c).cast("string")).otherwise("") for c in view.values if types[c] in ("double", "float")]
    return [F.concat(*zeros).alias("zeros")] if zeros else []
