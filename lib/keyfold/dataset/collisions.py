"""Collisions: how many values of a hashed feature share a bucket, beside the number expected by chance.

Counted for each hashed feature and each cross that is not `exact`. A value is a distinct tuple of value hashes, identified by the
feature hash (two tuples share one with probability 2^-64). Rows in bucket 0, which are all NULL, do not count. One pass over the
rows counts all features and shuffles integers alone; a second one reads the worst buckets, to name their values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core import hashing, sql
from keyfold.core.sql import column
from keyfold.core.types import SqlValue
from keyfold.engine import functions as F
from keyfold.features.kind import Bucketed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.features.spec import Spec
    from keyfold.runtime.run import Run

COLLISIONS_TABLE = "keyfold.collisions"
TARGET = 0.01
WORST_BUCKETS = 3  # buckets of a feature that are named
_COLUMNS = (
    "spec_digest string, run_id string, feature string, num_buckets int, rows bigint, values bigint, occupied bigint, "
    "shared_values bigint, shared_rows bigint, loudest array<struct<value: string, rows: bigint, other: string, other_rows: bigint>>, "
    "collisions bigint, expected double, advised_buckets bigint"
)

_COUNTS = ("rows", "values", "occupied", "shared_values", "shared_rows")


class SharedBucket(NamedTuple):
    """The two most frequent values of a bucket, as text, and their rows."""

    value: str
    rows: int
    other: str
    other_rows: int


class Collisions(NamedTuple):
    """Collisions of a feature.

    rows: rows with a value; values: distinct values; occupied: buckets with a value; shared_values, shared_rows: in buckets with
    at least two values; loudest: the buckets with most rows that are not of their most frequent value.
    """

    feature: str
    num_buckets: int
    rows: int
    values: int
    occupied: int
    shared_values: int
    shared_rows: int
    loudest: Sequence[SharedBucket] = ()

    @property
    def observed(self) -> int:
        """Values minus occupied buckets."""
        return self.values - self.occupied

    @property
    def expected(self) -> float:
        """`observed` for as many values, hashed at random."""
        return 0.0 if self.values < 2 else self.values - (self.num_buckets - 1) * _hit(self.values, self.num_buckets)

    @property
    def expected_share(self) -> float:
        """Share (0 to 1) of the values that share a bucket, for as many values hashed at random."""
        return _hit(max(0, self.values - 1), self.num_buckets)

    def advised(self, target: float = TARGET) -> int | None:
        """The least num_buckets whose expected share is at most `target` (above 0, below 1); None if it exceeds the maximum."""
        if self.values < 2:
            return 2
        buckets = max(3, 1 + math.ceil(-1 / math.expm1(math.log1p(-target) / (self.values - 1))))
        buckets -= _hit(self.values - 1, buckets - 1) <= target  # if the quotient was rounded up
        return buckets if buckets <= hashing.MAX_BUCKETS else None


def _hit(values: int, num_buckets: int) -> float:
    """The probability that a given bucket gets one of `values` values; bucket 0 gets none."""
    if num_buckets == 2:
        return float(values > 0)
    return -math.expm1(values * math.log1p(-1 / (num_buckets - 1)))


def bucketed_features(spec: "Spec") -> list[str]:
    """The features whose values may share a bucket: hashed features, and crosses that are not exact."""
    return [name for name, (kind, state) in spec.features.items() if isinstance(kind, Bucketed) and "salt" in state]


def measure_collisions(rows: "DataFrame", spec: "Spec") -> list[Collisions]:
    """The collisions of each such feature in `rows` (DataError as for `Spec.transform`)."""
    names = bucketed_features(spec)
    if not names:
        return []
    frame, values = spec.sql_values(rows)
    cells = {name: _cell(spec, name, values[name]) for name in names}
    buckets = _buckets(frame, cells).persist()
    try:
        counts = {row.feature: dict(zip(_COUNTS, row[1:], strict=True)) for row in _count(buckets).collect()}
        worst = _worst(frame, cells, values, buckets)
    finally:
        buckets.unpersist()
    none = dict.fromkeys(_COUNTS, 0)
    return [
        Collisions(name, spec.outs[name].width, **counts.get(i, none), loudest=worst.get(i, [])) for i, name in enumerate(names)
    ]


class _Cell(NamedTuple):
    """SQL expressions of the bucket and the feature hash of a row."""

    bucket: str
    value: str


def _cell(spec: "Spec", name: str, values: Sequence[SqlValue]) -> _Cell:
    kind, state = spec.features[name]
    return _Cell(kind.sql(values, state), hashing.sql_feature_hash(state["salt"], [v.hash for v in values]))


def _buckets(frame: "DataFrame", cells: Mapping[str, _Cell]) -> "DataFrame":
    """By `feature` (a number) and `bucket`: its values, its rows, and the rows of its most frequent value."""
    structs = [f"struct({i} AS feature, {c.bucket} AS bucket, {c.value} AS value)" for i, c in enumerate(cells.values())]
    each = frame.select(column(f"inline({sql.array_expression(structs)})")).where("bucket > 0")
    values = each.groupBy("feature", "bucket", "value").agg(F.count("*").alias("n"))
    counts = {"held": F.count("*"), "n": F.sum("n"), "most": F.max("n")}
    return values.groupBy("feature", "bucket").agg(*(c.alias(name) for name, c in counts.items()))


def _count(buckets: "DataFrame") -> "DataFrame":
    sums = ("sum(n)", "sum(held)", "count(*)", "sum(if(held > 1, held, 0))", "sum(if(held > 1, n, 0))")
    return buckets.groupBy("feature").agg(*(column(s).alias(f"_{i}") for i, s in enumerate(sums)))


def _worst(
    frame: "DataFrame", cells: Mapping[str, _Cell], values: Mapping[str, Sequence[SqlValue]], buckets: "DataFrame"
) -> dict[int, list[SharedBucket]]:
    """The two most frequent values of each feature's worst buckets, by number of the feature."""
    wanted: dict[int, list[int]] = {}
    for row in _first(buckets.where("held > 1"), ["feature"], ["most - n", "bucket"], WORST_BUCKETS).collect():
        wanted.setdefault(row.feature, []).append(row.bucket)
    if not wanted:
        return {}
    structs = [
        f"CASE WHEN {cell.bucket} IN ({', '.join(map(str, wanted[i]))}) "
        f"THEN struct({i} AS feature, {cell.bucket} AS bucket, {cell.value} AS value, {_texts(values[name])} AS texts) END"
        for i, (name, cell) in enumerate(cells.items())
        if i in wanted
    ]
    each = frame.select(column(f"inline({sql.array_expression(structs)})")).where("feature IS NOT NULL")
    counts = each.groupBy("feature", "bucket", "value", "texts").agg(column("count(*)").alias("n"))
    top: dict[tuple[int, int], list[Any]] = {}
    for row in _first(counts, ["feature", "bucket"], ["-n", "texts", "value"], 2).collect():
        top.setdefault((row.feature, row.bucket), []).append(row)
    # A table that is not pinned may lack a bucket's values when it is read again.
    return {i: [_pair(top[i, b]) for b in numbers if len(top.get((i, b), ())) == 2] for i, numbers in wanted.items()}


def _first(frame: "DataFrame", within: Sequence[str], order: Sequence[str], most: int) -> "DataFrame":
    """The first `most` rows of each group, in the order of SQL expressions."""
    from pyspark.sql import Window

    place = F.row_number().over(Window.partitionBy(*within).orderBy(*map(column, order)))
    return frame.withColumn("place", place).where(F.col("place") <= most).orderBy(*within, "place")


def _texts(values: Sequence[SqlValue]) -> str:
    texts = (f"collate({v.column}, 'UTF8_BINARY')" if v.family == "string" else f"CAST({v.column} AS STRING)" for v in values)
    return sql.array_expression(f"coalesce(left({text}, 80), 'NULL')" for text in texts)


def _pair(rows: Sequence[Any]) -> SharedBucket:
    first, second = rows
    return SharedBucket(" × ".join(first.texts), first.n, " × ".join(second.texts), second.n)


def cached_collisions(run: "Run", run_id: str, spec: "Spec", rows: "DataFrame") -> list[Collisions]:
    """The collisions in the rows that a run of `features` fitted its spec on: from the table, or measured and added to it."""
    names = bucketed_features(spec)
    table = run.table(COLLISIONS_TABLE)
    rows_of_run = table.read().where(sql.col("run_id") == run_id).collect() if names and table.exists() else []
    cached = {row.feature: _from_row(row.asDict()) for row in rows_of_run}
    if cached.keys() >= set(names):
        return [cached[name] for name in names]
    with run.step("collisions") as step:
        measured = measure_collisions(rows, spec)
        step.rows = max((c.rows for c in measured), default=0)
        cells = [(spec.digest, run_id, *c, c.observed, c.expected, c.advised()) for c in measured]
        table.append(run.spark.createDataFrame(cells, _COLUMNS).coalesce(1), job="features", run_id=run_id)
    return measured


def _from_row(row: Mapping[str, Any]) -> Collisions:
    return Collisions(**{f: row[f] for f in Collisions._fields} | {"loudest": [SharedBucket(*pair) for pair in row["loudest"]]})
