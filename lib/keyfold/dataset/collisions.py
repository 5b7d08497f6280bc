"""How often hashed values share a bucket, and what that costs: counted on rows, beside what chance would give.

Of each hashed feature, and each cross that is not `exact`: a value is a distinct tuple of value hashes, told by the feature hash
(two tuples share that by a chance of 2^-64 a pair). Rows in bucket 0, all NULL, are left out. Counts are one pass over the rows
for all features, in which nothing but integers is moved; the loudest pairs are read in a second one, of their buckets' rows alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core import hashing, sql
from keyfold.core.sql import column
from keyfold.core.types import SqlValue
from keyfold.engine import functions as F
from keyfold.features.kind import Bucketed
from keyfold.reporting import charts
from keyfold.reporting.charts import figure_html
from keyfold.reporting.page import PageSection, height, html_table, percent, side_by_side

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.features.spec import Spec
    from keyfold.runtime.run import Run

COLLISIONS_TABLE = "keyfold.collisions"
TARGET = 0.01
LOUDEST = 3  # buckets a feature
_COLUMNS = (
    "spec_digest string, run_id string, feature string, num_buckets int, rows bigint, values bigint, occupied bigint, "
    "shared_values bigint, shared_rows bigint, loudest array<struct<value: string, rows: bigint, other: string, other_rows: bigint>>, "
    "collisions bigint, expected double, advised_buckets bigint"
)

_COLLISIONS = (
    "Rows of the train fold with a value. Collisions: distinct values less occupied buckets; expected: of so many values thrown at "
    f"random. Last column: num_buckets with which {TARGET:.0%} of the values would share a bucket."
)
_LOUDEST = "The two most frequent values of the buckets in which most rows are not of the most frequent value."


class SharedBucket(NamedTuple):
    """The two most frequent values of a bucket, as text, and their rows."""

    value: str
    rows: int
    other: str
    other_rows: int


class Collisions(NamedTuple):
    """What became of a feature's values.

    `rows`: with a value; `values`: distinct ones; `occupied`: buckets with a value; `shared_values` and `shared_rows`: in a bucket
    with two values or more; `loudest`: of the buckets in which most rows are not of the most frequent value.
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
        """Values less occupied buckets."""
        return self.values - self.occupied

    @property
    def expected(self) -> float:
        """The same, of so many values thrown at random."""
        return 0.0 if self.values < 2 else self.values - (self.num_buckets - 1) * _hit(self.values, self.num_buckets)

    @property
    def expected_share(self) -> float:
        """The share (0 to 1) of values that would share a bucket, were they thrown at random."""
        return _hit(max(0, self.values - 1), self.num_buckets)

    def advised(self, target: float = TARGET) -> int | None:
        """The fewest buckets whose expected share is at most `target` (above 0, below 1); None where there cannot be so many."""
        if self.values < 2:
            return 2
        wanted = max(3, 1 + math.ceil(-1 / math.expm1(math.log1p(-target) / (self.values - 1))))
        wanted -= _hit(self.values - 1, wanted - 1) <= target  # where the quotient was rounded up
        return wanted if wanted <= hashing.MAX_BUCKETS else None


def _hit(values: int, num_buckets: int) -> float:
    """The probability that a given bucket gets one of so many values; bucket 0 gets none."""
    if num_buckets == 2:
        return float(values > 0)
    return -math.expm1(values * math.log1p(-1 / (num_buckets - 1)))


def bucketed_features(spec: "Spec") -> list[str]:
    """The features whose values may share a bucket: hashed ones, and crosses that are not exact."""
    return [name for name, (kind, state) in spec.features.items() if isinstance(kind, Bucketed) and "salt" in state]


def measure_collisions(rows: "DataFrame", spec: "Spec") -> list[Collisions]:
    """What became of the values of each such feature (DataError as for `Spec.transform`)."""
    names = bucketed_features(spec)
    if not names:
        return []
    frame, taken = spec.sql_values(rows)
    cells = {name: _cell(spec, name, taken[name]) for name in names}
    buckets = _buckets(frame, cells).persist()
    try:
        counted = {row.feature: row for row in _counted(buckets).collect()}
        loudest = _loudest(frame, cells, taken, buckets)
    finally:
        buckets.unpersist()
    found = []
    for i, name in enumerate(names):
        n, held, occupied, shared_values, shared_rows = counted[i][1:] if i in counted else (0, 0, 0, 0, 0)
        pairs = loudest.get(i, [])
        found.append(Collisions(name, spec.outs[name].width, n, held, occupied, shared_values, shared_rows, pairs))
    return found


class _Cell(NamedTuple):
    """SQL expressions of a row's bucket and feature hash."""

    bucket: str
    value: str


def _cell(spec: "Spec", name: str, values: Sequence[SqlValue]) -> _Cell:
    kind, state = spec.features[name]
    return _Cell(kind.sql(values, state), hashing.sql_feature_hash(state["salt"], [v.hash for v in values]))


def _buckets(frame: "DataFrame", cells: Mapping[str, _Cell]) -> "DataFrame":
    """`feature` (a number), `bucket`, its values, its rows, and those of its most frequent value."""
    structs = [f"struct({i} AS feature, {c.bucket} AS bucket, {c.value} AS value)" for i, c in enumerate(cells.values())]
    each = frame.select(column(f"inline({sql.array_expression(structs)})")).where("bucket > 0")
    values = each.groupBy("feature", "bucket", "value").agg(F.count("*").alias("n"))
    counts = {"held": F.count("*"), "n": F.sum("n"), "most": F.max("n")}
    return values.groupBy("feature", "bucket").agg(*(c.alias(name) for name, c in counts.items()))


def _counted(buckets: "DataFrame") -> "DataFrame":
    sums = ("sum(n)", "sum(held)", "count(*)", "sum(if(held > 1, held, 0))", "sum(if(held > 1, n, 0))")
    return buckets.groupBy("feature").agg(*(column(s).alias(f"_{i}") for i, s in enumerate(sums)))


def _loudest(
    frame: "DataFrame", cells: Mapping[str, _Cell], taken: Mapping[str, Sequence[SqlValue]], buckets: "DataFrame"
) -> dict[int, list[SharedBucket]]:
    """By the feature's number the pairs of its loudest buckets."""
    asked: dict[int, list[int]] = {}
    for row in _first(buckets.where("held > 1"), ["feature"], ["most - n", "bucket"], LOUDEST).collect():
        asked.setdefault(row.feature, []).append(row.bucket)
    if not asked:
        return {}
    structs = [
        f"CASE WHEN {cell.bucket} IN ({', '.join(map(str, asked[i]))}) "
        f"THEN struct({i} AS feature, {cell.bucket} AS bucket, {cell.value} AS value, {_texts(taken[name])} AS texts) END"
        for i, (name, cell) in enumerate(cells.items())
        if i in asked
    ]
    each = frame.select(column(f"inline({sql.array_expression(structs)})")).where("feature IS NOT NULL")
    counts = each.groupBy("feature", "bucket", "value", "texts").agg(column("count(*)").alias("n"))
    top: dict[tuple[int, int], list[Any]] = {}
    for row in _first(counts, ["feature", "bucket"], ["-n", "texts", "value"], 2).collect():
        top.setdefault((row.feature, row.bucket), []).append(row)
    # Rows that are others when read again may lack a bucket's values.
    return {i: [_pair(top[i, b]) for b in some if len(top.get((i, b), ())) == 2] for i, some in asked.items()}


def _first(frame: "DataFrame", within: Sequence[str], order: Sequence[str], most: int) -> "DataFrame":
    """The first rows of each group, in the order of expressions."""
    from pyspark.sql import Window

    place = F.row_number().over(Window.partitionBy(*within).orderBy(*map(column, order)))
    return frame.withColumn("place", place).where(F.col("place") <= most).orderBy(*within, "place")


def _texts(values: Sequence[SqlValue]) -> str:
    read = (f"collate({v.column}, 'UTF8_BINARY')" if v.family == "string" else f"CAST({v.column} AS STRING)" for v in values)
    return sql.array_expression(f"coalesce(left({text}, 80), 'NULL')" for text in read)


def _pair(rows: Sequence[Any]) -> SharedBucket:
    first, second = rows
    return SharedBucket(" × ".join(first.texts), first.n, " × ".join(second.texts), second.n)


def cached_collisions(run: "Run", run_id: str, spec: "Spec", rows: "DataFrame") -> list[Collisions]:
    """Those of the rows that a run of `features` fitted its spec on: from the table, or measured and kept there."""
    names = bucketed_features(spec)
    table = run.table(COLLISIONS_TABLE)
    found = table.read().where(sql.col("run_id") == run_id).collect() if names and table.exists() else []
    kept = {row.feature: _of(row.asDict()) for row in found}
    if kept.keys() >= set(names):
        return [kept[name] for name in names]
    with run.step("collisions") as step:
        measured = measure_collisions(rows, spec)
        step.rows = max((c.rows for c in measured), default=0)
        cells = [(spec.digest, run_id, *c, c.observed, c.expected, c.advised()) for c in measured]
        table.append(run.spark.createDataFrame(cells, _COLUMNS).coalesce(1), job="features", run_id=run_id)
    return measured


def _of(row: Mapping[str, Any]) -> Collisions:
    return Collisions(**{f: row[f] for f in Collisions._fields} | {"loudest": [SharedBucket(*pair) for pair in row["loudest"]]})


def collisions_section(found: Sequence[Collisions]) -> PageSection:
    """What shares a bucket by feature, most rows first; the picture has the first 20."""
    known = sorted(found, key=lambda c: -c.shared_rows / max(c.rows, 1))
    cells = [
        (c.feature, c.num_buckets, c.values, c.occupied, c.observed, c.expected, percent(c.shared_rows, c.rows), c.advised())
        for c in known
    ]
    headers = ["feature", "num_buckets", "values", "occupied", "collisions", "expected", "rows that share", f"for {TARGET:.0%}"]
    told = html_table(headers, cells, caption=_COLLISIONS)
    shown = known[:20]
    part = [100 * c.shared_values / max(c.values, 1) for c in shown]
    draw = charts.bar_chart(
        [c.feature for c in shown], part, [f"{p:.1f}%" for p in part], title="Values that share a bucket",
        x="share of distinct values (%)", marks=[100 * c.expected_share for c in shown], marked="expected by chance",
    )  # fmt: skip
    drawn = figure_html(
        draw, caption="Share of each feature's values that share a bucket; a tick marks chance.", width=500, height=height(shown)
    )
    pairs = [(c.feature, *pair) for c in known for pair in c.loudest]
    loudest = html_table(["feature", "value", "rows", "has the bucket of", "rows"], pairs, caption=_LOUDEST) if pairs else ""
    return PageSection("Collisions", told + side_by_side(drawn, loudest), "features")
