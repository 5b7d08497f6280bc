"""The point-in-time join: each row with the features that stood and were known at its time, never one from the future.

A row of a view stands from its time on, but not before it was known, and no longer than its time to live. Each label row gets, of the
rows that stand at its own time, the one of the latest time; of several, the one that was known last.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from keyfold.core.sql import col
from keyfold.core.types import DAYS, family_of, require_family
from keyfold.engine import functions as F
from keyfold.errors import DataError, suggestion

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_FIRST = -(2**63)  # before all times
_SHARE = 2  # of an even share of the rows: an entity with more is cut into slices of time


class ViewRows(NamedTuple):
    """The rows of a view. `entity`: the columns of the label rows by those of the view; `features`: the names that they get."""

    name: str
    rows: "DataFrame"
    entity: Mapping[str, str]
    time: str
    features: Mapping[str, str]
    known: str | None = None
    ttl: int | None = None
    unknown: Literal["null", "error"] = "null"


def training_set(labels: "DataFrame", views: Sequence[ViewRows], time: str, say: Any = None) -> "DataFrame":
    """The label rows, each exactly once, with the features that stood and were known at their `time`, or NULL.

    Views of one entity take one exchange and one sort. `say` is told, in a sentence, how many rows have an entity that a view does not know.
    Raises DataError for columns that are not there, of other types, or of one name; and for such rows where a view has `unknown: error`.
    """
    _check(labels, views, time)
    for entity, some in groupby(sorted(views, key=_entity), key=_entity):
        labels = _Lines(labels, list(some), list(entity), time).joined(say or (lambda _: None))
    return labels


def _entity(view: ViewRows) -> tuple[str, ...]:
    return tuple(view.entity.values())


def _check(labels: "DataFrame", views: Sequence[ViewRows], time: str) -> None:
    taken = {c.casefold(): "the rows" for c in labels.columns}
    for view in views:
        needed = [(labels, "the rows have", c) for c in (*view.entity.values(), time)]
        needed += [
            (view.rows, "it has", c) for c in (*view.entity, view.time, *view.features, *([view.known] if view.known else []))
        ]
        for frame, whose, name in needed:
            if name not in frame.columns:
                raise DataError(f"view `{view.name}`: {whose} no column `{name}`{suggestion(name, frame.columns)}")
        for theirs, ours in view.entity.items():
            a, b = _family(view.rows, theirs), _family(labels, ours)
            if a != b:
                raise DataError(
                    f"view `{view.name}`: its entity `{theirs}` is {a}, and `{ours}` of the rows {b}; cast one of them"
                )
        for frame, name in ((labels, time), (view.rows, view.time), *(((view.rows, view.known),) if view.known else ())):
            require_family(DAYS, _family(frame, str(name)), f"view `{view.name}`: time `{name}`", "cast it")
        for name in view.features.values():
            if name.casefold() in taken:
                raise DataError(
                    f"view `{view.name}`: column `{name}` is one of {taken[name.casefold()]}, too; rename the feature of the view"
                )
            taken[name.casefold()] = f"view `{view.name}`"


def _family(frame: "DataFrame", name: str) -> str:
    return family_of(frame.schema[name].dataType.simpleString())


def time_micros(time: str) -> "Column":
    """bigint: microseconds since 1970 of a date or timestamp, in UTC."""
    return F.unix_micros(col(time).cast("timestamp"))


class _Lines:
    """Label rows and the rows of views of one entity, as lines in one order: by entity, and by the time from which they are known."""

    def __init__(self, labels: "DataFrame", views: Sequence[ViewRows], entity: list[str], time: str) -> None:
        self.labels, self.views, self.time = labels, views, time
        self.entity = [f"_e{i}" for i in range(len(entity))]
        self.columns = [f"_v{i}" for i in range(len(views))]
        named = dict(zip(self.entity, entity, strict=True))
        row = F.struct(*map(col, labels.columns)).alias("_row")
        self.asking = labels.select(
            *(col(c).alias(e) for e, c in named.items()), time_micros(time).alias("_at"), F.lit(1).alias("_kind"), row
        )
        lines = [self._of(view, column) for view, column in zip(views, self.columns, strict=True)]
        self.told = lines[0]
        for line in lines[1:]:
            self.told = self.told.unionByName(line, allowMissingColumns=True)

    def _of(self, view: ViewRows, column: str) -> "DataFrame":
        ours = {c: e for e, c in zip(self.entity, view.entity.values(), strict=True)}
        valid = time_micros(view.time)
        known = time_micros(view.known) if view.known else valid
        # In this order: the greatest is the one that stands.
        what = F.struct(
            valid.alias("valid"),
            known.alias("known"),
            F.struct(*(col(c).alias(f"f{i}") for i, c in enumerate(view.features))).alias("of"),
        )
        rows = view.rows.where(valid.isNotNull() & known.isNotNull())
        for theirs in view.entity:
            rows = rows.where(col(theirs).isNotNull())
        named = [col(theirs).alias(ours[c]) for theirs, c in view.entity.items()]
        return rows.select(*named, F.greatest(valid, known).alias("_at"), F.lit(0).alias("_kind"), what.alias(column))

    def joined(self, say: Any) -> "DataFrame":
        """The label rows with the features of the views."""
        from pyspark.sql import Window

        lines = self.asking.unionByName(self.told, allowMissingColumns=True)
        heavy = self._surveyed(lines, say)
        by = list(self.entity)
        if heavy is not None:
            lines, by = self._sliced(lines, heavy), [*by, "_slice"]
        so_far = Window.partitionBy(*by).orderBy("_at", "_kind").rowsBetween(Window.unboundedPreceding, Window.currentRow)
        stands = [F.max(c).over(so_far).alias(c) for c in self.columns]
        found = lines.select("_at", "_kind", "_row", *stands).where("_kind = 1")
        named = [F.col("_row").getField(c).alias(c) for c in self.labels.columns]
        return found.select(*named, *(f for v, c in zip(self.views, self.columns, strict=True) for f in self._features(v, c)))

    def _features(self, view: ViewRows, column: str) -> "list[Column]":
        valid, known, at = F.col(f"{column}.valid"), F.col(f"{column}.known"), F.col("_at")
        broken = F.raise_error(F.lit(f"keyfold: view `{view.name}`: a row from the future was taken. Please report this"))
        stands = F.when(F.greatest(valid, known) > at, broken.cast("boolean")).otherwise(
            F.lit(True) if view.ttl is None else valid >= at - F.lit(view.ttl)
        )
        return [F.when(stands, F.col(f"{column}.of.f{i}")).alias(name) for i, name in enumerate(view.features.values())]

    # --- entities that the views do not know; entities with too many rows ---

    def _surveyed(self, lines: "DataFrame", say: Any) -> "DataFrame | None":
        """Of each entity with too many rows for one task, the times that cut it; None where there is none."""
        of = [F.count(c).alias(c) for c in self.columns]
        counted = lines.groupBy(*self.entity).agg(F.count("*").alias("_n"), F.sum("_kind").alias("_asked"), *of).persist()
        try:
            unknown = [F.sum(F.when(F.col(c) == 0, F.col("_asked")).otherwise(0)) for c in self.columns]
            rows, most, *strangers = counted.agg(F.sum("_n"), F.max("_n"), *unknown).collect()[0]
            for view, n in zip(self.views, strangers, strict=True):
                self._tell(view, n or 0, say)
            share = max(1, math.ceil((rows or 0) / _tasks(lines)))
            if (most or 0) <= _SHARE * share:
                return None
            heavy = counted.where(F.col("_n") > _SHARE * share).select(*self.entity, "_n").collect()
            schema = counted.select(*self.entity, "_n").schema
        finally:
            counted.unpersist()
        few = lines.sparkSession.createDataFrame(heavy, schema)
        at = lines.join(F.broadcast(few), [lines[e].eqNullSafe(few[e]) for e in self.entity]).select(
            *(few[e].alias(e) for e in self.entity), few["_n"], "_at"
        )
        cuts = []
        for *names, n, times in at.groupBy(*self.entity, "_n").agg(F.percentile_approx("_at", _parts(most, share))).collect():
            wanted = math.ceil(n / share)
            cuts.append((*names, sorted({times[round(i * len(times) / wanted)] for i in range(1, wanted)}) if times else []))
        from pyspark.sql.types import ArrayType, LongType, StructField, StructType

        return lines.sparkSession.createDataFrame(
            cuts, StructType([*schema.fields[:-1], StructField("_cuts", ArrayType(LongType()))])
        )

    def _tell(self, view: ViewRows, n: int, say: Any) -> None:
        if n:
            said = f"{n:,} rows have an entity ({', '.join(view.entity.values())}) that view `{view.name}` does not know"
            if view.unknown == "error":
                raise DataError(f"{said}; it is `unknown: error` in data.views")
            say(said)

    def _sliced(self, lines: "DataFrame", heavy: "DataFrame") -> "DataFrame":
        """The lines with the slice of time of each; what stands when a slice begins is a line of its own."""
        from pyspark.sql import Window

        def cut(some: "DataFrame", how: str) -> "DataFrame":
            on = [some[e].eqNullSafe(heavy[e]) for e in self.entity]
            both = some.join(F.broadcast(heavy), on, how)
            number = F.coalesce(F.size(F.filter("_cuts", lambda c: c <= F.col("_at"))), F.lit(0))
            number = F.when(F.col("_cuts").isNull() | F.col("_at").isNull(), 0).otherwise(number)
            return both.select(*(some[c] for c in some.columns), number.alias("_slice"), "_cuts")

        cells = cut(self.told, "inner").groupBy(*self.entity, "_slice").agg(*(F.max(c).alias(c) for c in self.columns))
        each = heavy.select(*self.entity, F.explode(F.sequence(F.lit(0), F.size("_cuts"))).alias("_slice"))
        before = Window.partitionBy(*self.entity).orderBy("_slice").rowsBetween(Window.unboundedPreceding, -1)
        carried = each.join(cells, [*self.entity, "_slice"], "left").select(
            *self.entity, "_slice", F.lit(_FIRST).alias("_at"), F.lit(0).alias("_kind"),
            *(F.max(c).over(before).alias(c) for c in self.columns),
        )  # fmt: skip
        return cut(lines, "left").drop("_cuts").unionByName(carried, allowMissingColumns=True)


def _tasks(frame: "DataFrame") -> int:
    return int(frame.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1)


def _parts(most: int, share: int) -> list[float]:
    """Quantiles, enough for the entity with most rows."""
    parts = max(2, 4 * math.ceil(most / share))
    return [i / parts for i in range(parts)]
