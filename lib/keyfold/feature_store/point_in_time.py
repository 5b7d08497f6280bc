"""The point-in-time join: each label row gets the features that were valid and known at its time, never one from the future.

A row of a view is valid from its time on, for its time to live, and counts only from the time at which it was known. A label row
gets the valid row of the latest time; of several rows of that time, the one that was known last.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

from keyfold.core.types import DAYS, family_of, require_family
from keyfold.engine import functions as F
from keyfold.engine.spark_columns import col
from keyfold.errors import DataError, suggestion

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_FIRST = -(2**63)  # before all times
_SHARE = 2  # an entity with more than this many even shares of the rows is cut into slices of time


class ViewRows(NamedTuple):
    """The rows of a view.

    entity: columns of the label rows by columns of the view; time, known: columns of the view, with the time from which a row is
    valid and the time at which it was known (default: `time`); features: column names in the result by columns of the view;
    ttl: time to live in microseconds; unknown: whether label rows of an entity that the view does not have are an error.
    """

    name: str
    rows: "DataFrame"
    entity: Mapping[str, str]
    time: str
    features: Mapping[str, str]
    known: str | None = None
    ttl: int | None = None
    unknown: Literal["null", "error"] = "null"


def training_set(
    labels: "DataFrame", views: Sequence[ViewRows], time: str, say: Callable[[str], None] = lambda _: None
) -> "DataFrame":
    """The label rows, each exactly once, with the features that were valid and known at their `time`, else NULL.

    Views of one entity take one exchange and one sort. `say` gets a sentence about label rows whose entity a view does not have.
    Raises DataError for a missing column, a wrong type or a name that is taken, and for such label rows if `unknown` is "error".
    """
    _check(labels, views, time)
    for entity, group in groupby(sorted(views, key=_entity), key=_entity):
        labels = _Timeline(labels, list(group), list(entity), time).join(say)
    return labels


def _entity(view: ViewRows) -> tuple[str, ...]:
    return tuple(view.entity.values())


def _check(labels: "DataFrame", views: Sequence[ViewRows], time: str) -> None:
    owners = {c.casefold(): "the rows" for c in labels.columns}
    for view in views:
        _check_columns(labels, view, time)
        _check_types(labels, view, time)
        for name in view.features.values():
            if owner := owners.get(name.casefold()):
                raise DataError(f"view `{view.name}`: column `{name}` is one of {owner}, too; rename the feature of the view")
            owners[name.casefold()] = f"view `{view.name}`"


def _check_columns(labels: "DataFrame", view: ViewRows, time: str) -> None:
    needed = [(labels, "the rows have", c) for c in (*view.entity.values(), time)]
    needed += [(view.rows, "it has", c) for c in (*view.entity, view.time, *view.features, *([view.known] if view.known else []))]
    for frame, subject, name in needed:
        if name not in frame.columns:
            raise DataError(f"view `{view.name}`: {subject} no column `{name}`{suggestion(name, frame.columns)}")


def _check_types(labels: "DataFrame", view: ViewRows, time: str) -> None:
    for theirs, ours in view.entity.items():
        a, b = _family(view.rows, theirs), _family(labels, ours)
        if a != b:
            raise DataError(f"view `{view.name}`: its entity `{theirs}` is {a}, and `{ours}` of the rows {b}; cast one of them")
    for frame, name in ((labels, time), (view.rows, view.time), (view.rows, view.known)):
        if name is not None:
            require_family(DAYS, _family(frame, name), f"view `{view.name}`: time `{name}`", "cast it")


def _family(frame: "DataFrame", name: str) -> str:
    return family_of(frame.schema[name].dataType.simpleString())


def time_micros(time: str) -> "Column":
    """bigint: microseconds since 1970 of a date or timestamp, in UTC."""
    return F.unix_micros(col(time).cast("timestamp"))


class _Timeline:
    """Label rows and the rows of views of one entity as lines in one order: by entity, and by the time from which they count.

    `_kind` is 1 for a label row; each view has a column of structs, whose greatest so far is the row that is valid.
    """

    def __init__(self, labels: "DataFrame", views: Sequence[ViewRows], entity: list[str], time: str) -> None:
        self.labels, self.views, self.time = labels, views, time
        self.entity = [f"_e{i}" for i in range(len(entity))]
        self.columns = [f"_v{i}" for i in range(len(views))]
        named = [col(c).alias(e) for e, c in zip(self.entity, entity, strict=True)]
        row = F.struct(*map(col, labels.columns)).alias("_row")
        self.label_lines = labels.select(*named, time_micros(time).alias("_at"), F.lit(1).alias("_kind"), row)
        first, *others = (self._view_lines(view, column) for view, column in zip(views, self.columns, strict=True))
        self.view_lines = first
        for lines in others:
            self.view_lines = self.view_lines.unionByName(lines, allowMissingColumns=True)

    @property
    def lines(self) -> "DataFrame":
        return self.label_lines.unionByName(self.view_lines, allowMissingColumns=True)

    def _view_lines(self, view: ViewRows, column: str) -> "DataFrame":
        valid = time_micros(view.time)
        known = time_micros(view.known) if view.known else valid
        features = F.struct(*(col(c).alias(f"f{i}") for i, c in enumerate(view.features)))
        # In this order, so that the greatest struct is the row with the latest time, and of those the one known last.
        value = F.struct(valid.alias("valid"), known.alias("known"), features.alias("of"))
        rows = view.rows.where(valid.isNotNull() & known.isNotNull())
        for name in view.entity:
            rows = rows.where(col(name).isNotNull())
        named = [col(c).alias(e) for c, e in zip(view.entity, self.entity, strict=True)]
        return rows.select(*named, F.greatest(valid, known).alias("_at"), F.lit(0).alias("_kind"), value.alias(column))

    def join(self, say: Callable[[str], None]) -> "DataFrame":
        """The label rows with the features of the views."""
        from pyspark.sql import Window

        lines, by = self.lines, list(self.entity)
        cuts = self.cuts(lines, say)
        if cuts is not None:
            lines, by = self.cut(lines, cuts), [*by, "_slice"]
        so_far = Window.partitionBy(*by).orderBy("_at", "_kind").rowsBetween(Window.unboundedPreceding, Window.currentRow)
        latest = [F.max(c).over(so_far).alias(c) for c in self.columns]
        answers = lines.select("_at", "_kind", "_row", *latest).where("_kind = 1")
        own = [F.col("_row").getField(c).alias(c) for c in self.labels.columns]
        features = (f for view, column in zip(self.views, self.columns, strict=True) for f in self._features(view, column))
        return answers.select(*own, *features)

    def _features(self, view: ViewRows, column: str) -> "Iterator[Column]":
        valid, known, at = F.col(f"{column}.valid"), F.col(f"{column}.known"), F.col("_at")
        broken = F.raise_error(F.lit(f"keyfold: view `{view.name}`: a row from the future was joined. Please report this"))
        holds = F.when(F.greatest(valid, known) > at, broken.cast("boolean")).otherwise(
            F.lit(True) if view.ttl is None else valid >= at - F.lit(view.ttl)
        )
        return (F.when(holds, F.col(f"{column}.of.f{i}")).alias(name) for i, name in enumerate(view.features.values()))

    # --- entities that a view does not have; entities with too many rows for one task ---

    def cuts(self, lines: "DataFrame", say: Callable[[str], None]) -> "DataFrame | None":
        """The times (`_cuts`) that cut each entity with too many lines for one task; None if there is no such entity."""
        per_view = [F.count(c).alias(c) for c in self.columns]
        counts = lines.groupBy(*self.entity).agg(F.count("*").alias("_n"), F.sum("_kind").alias("_labels"), *per_view).persist()
        try:
            unknown = [F.sum(F.when(F.col(c) == 0, F.col("_labels")).otherwise(0)) for c in self.columns]
            total, most, *unknown_rows = counts.agg(F.sum("_n"), F.max("_n"), *unknown).collect()[0]
            for view, n in zip(self.views, unknown_rows, strict=True):
                _report_unknown(view, n or 0, say)
            share = max(1, math.ceil((total or 0) / _tasks(lines)))
            if (most or 0) <= _SHARE * share:
                return None
            large = counts.select(*self.entity, "_n")
            rows = large.where(F.col("_n") > _SHARE * share).collect()
        finally:
            counts.unpersist()
        return self._cuts_of(lines, lines.sparkSession.createDataFrame(rows, large.schema), share, most)

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


def _report_unknown(view: ViewRows, n: int, say: Callable[[str], None]) -> None:
    if n:
        message = f"{n:,} rows have an entity ({', '.join(view.entity.values())}) that view `{view.name}` does not have"
        if view.unknown == "error":
            raise DataError(f"{message}; it is `unknown: error` in data.views")
        say(message)
