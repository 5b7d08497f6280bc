"""Collisions: how many values of a hashed feature share a bucket, compared with the number expected by chance.

Counted for each hashed feature and each cross that is not `exact`. A value is a distinct tuple of value hashes, identified by the
feature hash (two tuples share one with probability 2^-64). Rows in bucket 0, whose inputs are all NULL, do not count. One pass over
the rows counts all features and shuffles only integers. A second pass reads the worst buckets and names their values.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import hashing
from keyfold.core.texts import value_texts
from keyfold.core.types import ArrowValue, SqlValue
from keyfold.engine.arrow_types import arrow_type
from keyfold.engine.columns import col, count_rows, lit, when
from keyfold.engine.frame import Batches, Computed, Frame, persisting
from keyfold.features.kind import Bucketed

if TYPE_CHECKING:
    from keyfold.features.spec import Spec
    from keyfold.runtime.run import Run

COLLISIONS_TABLE = "keyfold.collisions"
TARGET = 0.01
WORST_BUCKETS = 3  # buckets named per feature
_TEXT = 80  # characters shown of a value
_PAIR = {"value": pa.string(), "rows": pa.int64(), "other": pa.string(), "other_rows": pa.int64()}
_SCHEMA = pa.schema(
    {
        "spec_digest": pa.string(), "run_id": pa.string(), "feature": pa.string(), "num_buckets": pa.int32(),
        **dict.fromkeys(("rows", "values", "occupied", "shared_values", "shared_rows"), pa.int64()),
        "loudest": pa.list_(pa.struct(_PAIR)), "collisions": pa.int64(), "expected": pa.float64(), "advised_buckets": pa.int64(),
    }
)  # fmt: skip


class SharedBucket(NamedTuple):
    """The two most frequent values of a bucket, as text, and their rows."""

    value: str
    rows: int
    other: str
    other_rows: int


class Collisions(NamedTuple):
    """Collisions of a feature.

    rows: rows with a value. values: distinct values. occupied: buckets with a value. shared_values, shared_rows: values and rows in
    buckets with at least two values. loudest: the buckets with the most rows besides those of their most frequent value.
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
        """The expectation of `observed` for as many values hashed at random."""
        return 0.0 if self.values < 2 else self.values - (self.num_buckets - 1) * _hit(self.values, self.num_buckets)

    @property
    def expected_share(self) -> float:
        """The expected share (0 to 1) of values that share a bucket, for as many values hashed at random."""
        return _hit(max(0, self.values - 1), self.num_buckets)

    def advised(self, target: float = TARGET) -> int | None:
        """The smallest num_buckets with an expected share of at most `target` (between 0 and 1); None if it exceeds the maximum."""
        if self.values < 2:
            return 2
        buckets = max(3, 1 + math.ceil(-1 / math.expm1(math.log1p(-target) / (self.values - 1))))
        buckets -= _hit(self.values - 1, buckets - 1) <= target  # corrects a quotient that was rounded up
        return buckets if buckets <= hashing.MAX_BUCKETS else None


def _hit(values: int, num_buckets: int) -> float:
    """The probability that a given bucket gets one of `values` values; bucket 0 gets none."""
    if num_buckets == 2:
        return float(values > 0)
    return -math.expm1(values * math.log1p(-1 / (num_buckets - 1)))


def bucketed_features(spec: "Spec") -> list[str]:
    """The features whose values may share a bucket: hashed ones, and crosses that are not exact."""
    return [name for name, (kind, state) in spec.features.items() if isinstance(kind, Bucketed) and "salt" in state]


def measure_collisions(rows: Frame, spec: "Spec") -> list[Collisions]:
    """The collisions of each such feature in `rows` (DataError as for `Spec.transform`)."""
    names = bucketed_features(spec)
    if not names:
        return []
    spec = spec.only(names)
    rows = spec.select_inputs(rows)
    with persisting() as persist:
        buckets = persist(_buckets(rows, spec, names))
        counts = {row.pop("feature"): row for row in _count(buckets).rows()}
        worst = _worst(rows, spec, names, buckets)
    none = dict.fromkeys(("rows", "values", "occupied", "shared_values", "shared_rows"), 0)
    return [
        Collisions(name, spec.outs[name].width, **counts.get(i, none), loudest=worst.get(i, [])) for i, name in enumerate(names)
    ]


def _buckets(rows: Frame, spec: "Spec", names: Sequence[str]) -> Frame:
    """For each `feature` (a number) and `bucket`: the values, the rows, and the rows of the most frequent value."""
    cells = _Cells(spec, names)
    each = rows.compute(cells.computed(rows), []).stack("feature", cells.columns)
    values = each.where(col("bucket") > 0).group(["feature", "bucket", "value"], n=count_rows())
    return values.group(["feature", "bucket"], held=count_rows(), n=col("n").sum(), most=col("n").max())


def _count(buckets: Frame) -> Frame:
    held, n = col("held"), col("n")
    sums = {"shared_values": held, "shared_rows": n}
    shared = {name: when(held > 1).then(of).otherwise(lit(0)) for name, of in sums.items()}
    return buckets.with_columns(shared).group(
        ["feature"], rows=n.sum(), values=held.sum(), occupied=count_rows(), **{name: col(name).sum() for name in shared}
    )


class _Cells(NamedTuple):
    """Columns for each feature: the bucket and the feature hash of a row, and the texts of the inputs."""

    spec: "Spec"
    names: Sequence[str]

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns of the buckets and of the hashes, by content."""
        return {of: [f"keyfold_{of}_{i}" for i in range(len(self.names))] for of in ("bucket", "value")}

    @property
    def texts(self) -> dict[str, list[str]]:
        """The columns of the texts, by number of the input."""
        most = max(len(self.spec.features[name].kind.inputs()) for name in self.names)
        return {f"text_{j}": [f"keyfold_text_{i}_{j}" for i in range(len(self.names))] for j in range(most)}

    def computed(self, rows: Frame) -> Computed:
        """Computes the buckets and hashes of rows (DataError as for `Spec.transform`)."""
        shared, values = self.spec.sql_values(rows)
        buckets, hashes = self.columns.values()
        cells = [(kind.sql(values[name], state), state["salt"], values[name]) for name, (kind, state) in self._features.items()]
        sql = [bucket for bucket, _, _ in cells]
        sql += [hashing.sql_feature_hash(salt, [v.hash for v in inputs]) for _, salt, inputs in cells]
        return Computed(dict.fromkeys(buckets, pa.int32()) | dict.fromkeys(hashes, pa.int64()), self._arrays, sql, shared)

    def computed_texts(self, rows: Frame) -> Computed:
        """Computes the texts of the inputs; empty where a feature has fewer inputs."""
        shared, values = self.spec.sql_values(rows)
        sql = [_sql_text(values[name], j) for j in range(len(self.texts)) for name in self.names]
        return Computed({c: pa.string() for columns in self.texts.values() for c in columns}, self._text_arrays, sql, shared)

    @property
    def _features(self) -> dict[str, Any]:
        return {name: self.spec.features[name] for name in self.names}

    def _arrays(self, batch: pa.RecordBatch) -> list[pa.Array]:
        arrays, inputs = self.spec.arrow_with_inputs(batch)
        hashes = (
            hashing.feature_hash(state["salt"], [v.hash for v in inputs[name]]) for name, (_, state) in self._features.items()
        )
        return [*(pa.array(arrays[name]) for name in self.names), *map(pa.array, hashes)]

    def _text_arrays(self, batch: pa.RecordBatch) -> list[pa.Array]:
        _, inputs = self.spec.arrow_with_inputs(batch)
        return [_arrow_text(inputs[name], j, batch.num_rows) for j in range(len(self.texts)) for name in self.names]


def _sql_text(values: Sequence[SqlValue], j: int) -> str:
    if j >= len(values):
        return "''"
    value = values[j]
    text = f"collate({value.column}, 'UTF8_BINARY')" if value.family == "string" else f"CAST({value.column} AS STRING)"
    return f"coalesce(left({text}, {_TEXT}), 'NULL')"


def _arrow_text(values: Sequence[ArrowValue], j: int, n: int) -> pa.Array:
    if j >= len(values):
        return pa.repeat("", n)
    return pc.utf8_slice_codeunits(value_texts(values[j].array), 0, _TEXT).fill_null("NULL")


def _worst(rows: Frame, spec: "Spec", names: Sequence[str], buckets: Frame) -> dict[int, list[SharedBucket]]:
    """The two most frequent values in each feature's worst buckets, by number of the feature."""
    wanted: dict[int, list[int]] = {}
    shared = buckets.where(col("held") > 1).with_columns({"lost": col("most") - col("n")}).select(["feature", "lost", "bucket"])
    for row in _first(shared, ["feature"], ["lost", "bucket"], WORST_BUCKETS):
        wanted.setdefault(row["feature"], []).append(row["bucket"])
    if not wanted:
        return {}
    top: dict[tuple[int, int], list[Any]] = {}
    for row in _most_frequent(rows, _Cells(spec, [names[i] for i in wanted]), [*wanted.values()]):
        top.setdefault((row["feature"], row["bucket"]), []).append(row)
    # A table that is not pinned may have changed, and lack the values of a bucket, when it is read again.
    return {
        i: [_pair(top[k, b], len(spec.features[names[i]].kind.inputs())) for b in wanted[i] if len(top.get((k, b), ())) == 2]
        for k, i in enumerate(wanted)
    }


def _most_frequent(rows: Frame, cells: _Cells, wanted: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The two most frequent values of the buckets in `wanted`, which has them by number of the feature."""
    buckets, hashes = cells.columns.values()
    computed = rows.compute(cells.computed(rows))
    some = computed.where(reduce(or_, (col(name).is_in(numbers) for name, numbers in zip(buckets, wanted, strict=True))))
    each = some.compute(cells.computed_texts(rows), [*buckets, *hashes]).stack("feature", cells.columns | cells.texts)
    of = ((col("feature") == lit(k)) & col("bucket").is_in(numbers) for k, numbers in enumerate(wanted))
    counts = each.where(reduce(or_, of)).group(["feature", "bucket", "value", *cells.texts], n=count_rows())
    return _first(counts.with_columns({"less": -col("n")}), ["feature", "bucket"], ["less", *cells.texts, "value"], 2)


def _first(frame: Frame, within: Sequence[str], order: Sequence[str], most: int) -> list[dict[str, Any]]:
    """The first `most` rows, ordered by `order`, of each group of `within`."""
    types = {name: arrow_type(type_) for name, type_ in frame.types.items()}
    first = frame.map_batches(partial(_first_of_batches, within, order, most), types).to_arrow()
    rows: list[dict[str, Any]] = _first_rows(first, within, order, most).to_pylist()
    return rows


def _first_of_batches(within: Sequence[str], order: Sequence[str], most: int, batches: Batches) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from _first_rows(pa.Table.from_batches([batch]), within, order, most).to_batches()


def _first_rows(table: pa.Table, within: Sequence[str], order: Sequence[str], most: int) -> pa.Table:
    table = table.sort_by([(name, "ascending") for name in (*within, *order)])
    keys = np.array([table[name].to_numpy() for name in within])
    begins = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))[: table.num_rows]
    starts = np.flatnonzero(begins)
    place = np.arange(table.num_rows) - starts[np.cumsum(begins) - 1] if len(starts) else np.arange(0)
    return table.filter(pa.array(place < most))


def _pair(rows: Sequence[Any], inputs: int) -> SharedBucket:
    first, second = ((" × ".join(row[f"text_{j}"] for j in range(inputs)), row["n"]) for row in rows)
    return SharedBucket(*first, *second)


def cached_collisions(run: "Run", run_id: str, spec: "Spec", rows: Frame) -> list[Collisions]:
    """The collisions in the rows that a run of `features` fitted its spec on: from the table, otherwise measured and stored."""
    names = bucketed_features(spec)
    table = run.table(COLLISIONS_TABLE)
    rows_of_run = table.frame().where(col("run_id") == lit(run_id)).rows() if names and table.exists() else []
    cached = {row["feature"]: _from_row(row) for row in rows_of_run}
    if cached.keys() >= set(names):
        return [cached[name] for name in names]
    with run.step("collisions") as step:
        measured = measure_collisions(rows, spec)
        step.rows = max((c.rows for c in measured), default=0)
        cells = pa.Table.from_pylist([_to_row(spec.digest, run_id, c) for c in measured], _SCHEMA)
        table.append(run.engine.frame(cells), job="features", run_id=run_id)
    return measured


def _to_row(digest: str, run_id: str, collisions: Collisions) -> dict[str, Any]:
    derived = {"collisions": collisions.observed, "expected": collisions.expected, "advised_buckets": collisions.advised()}
    loudest = [pair._asdict() for pair in collisions.loudest]
    return {"spec_digest": digest, "run_id": run_id, **collisions._asdict(), "loudest": loudest, **derived}


def _from_row(row: Mapping[str, Any]) -> Collisions:
    return Collisions(**{f: row[f] for f in Collisions._fields} | {"loudest": [SharedBucket(**pair) for pair in row["loudest"]]})
