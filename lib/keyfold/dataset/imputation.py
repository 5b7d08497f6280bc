"""Imputes the columns that older layouts lack. Imputations are fitted on the train rows of the current layout, and stored.

`mean` and `most_frequent` impute one value. `distribution` draws among the values of those rows in proportion to their frequency. The
draw depends on the hash of a row's key under the salt `bridge:<column>`, so a row always gets the same value. Bridged rows train a
model with the weight of their layout, and never evaluate it.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial, reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import digests, hashing, sql
from keyfold.core.arrays import Int64s
from keyfold.core.names import BRIDGED, LAYOUT, WEIGHT
from keyfold.core.row_hash import arrow_key_hash, sql_key_hash
from keyfold.core.texts import value_texts
from keyfold.core.types import SqlValue, family_of, spark_text, sql_cast
from keyfold.engine.arrow_types import arrow_type
from keyfold.engine.columns import col, lit, when
from keyfold.engine.frame import Computed, Frame
from keyfold.errors import ConfError, DataError
from keyfold.features import fitting
from keyfold.features.measuring import measure_statistics

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.runtime.run import Run
    from keyfold.tracking.registry import Registered

IMPUTATION_FILE, IMPUTATION_TABLE = "bridge.json", "keyfold.bridges"
MAX_IMPUTED_VALUES = 1_000  # per column with `distribution`
_TABLE_COLUMNS = "run_id string, digest string, name string, bridge string, fitted_at timestamp"


class Imputation(NamedTuple):
    """Imputation of one column for some layouts: its values as text, in order, and their cumulative row counts."""

    column: str
    fill: str
    layouts: list[str]
    values: list[str]
    cumulative: list[int]

    def sql(self, key_hash: str) -> str:
        """SQL expression (text) of the value for a row, given the hash of its key."""
        if len(self.values) == 1:
            return sql.text_literal(self.values[0])
        before = f"x -> size(filter({sql.array_expression(map(sql.bigint_literal, self.cumulative))}, c -> c <= x))"
        at = f"transform(array({hashing.sql_reduce(key_hash, self.cumulative[-1])}), {before})[0]"
        return f"{sql.array_expression(map(sql.text_literal, self.values))}[{at}]"

    def arrow(self, key_hash: Int64s) -> pa.Array:
        """The values for hashes of keys (int64, one per row), equal to those of `sql`."""
        at = np.searchsorted(self.cumulative, hashing.reduce(key_hash, self.cumulative[-1]), side="right")
        return pa.array(self.values, pa.string()).take(pa.array(at))

    @property
    def salt(self) -> str:
        """Salt of the key hash; each column has its own, so that draws are independent."""
        return f"bridge:{self.column}"


class Imputations:
    """The imputations of a table, stored as JSON beside the spec."""

    def __init__(self, of: Sequence[Imputation]) -> None:
        self.of = list(of)

    def fill(self, rows: Frame, key: Sequence[str]) -> Frame:
        """Replaces NULL by imputed values in bridged rows whose layout lacks the column."""
        types, of = rows.types, defaultdict[str, list[Imputation]](list)
        for imputation in self.of:
            of[imputation.column].append(imputation)
        if not of:
            return rows
        expressions = [_sql_filled(types, key, name, imputations) for name, imputations in of.items()]
        computed = Computed({name: arrow_type(types[name]) for name in of}, partial(_filled, key, dict(of)), expressions)
        return rows.compute(computed).select(rows.columns)

    def to_json(self) -> str:
        """The content of a JSON file beside the spec."""
        return digests.canonical_json([imputation._asdict() for imputation in self.of])

    @classmethod
    def from_json(cls, text: str) -> "Imputations":
        """Reads what `to_json` wrote."""
        return cls([Imputation(**fields) for fields in json.loads(text)])

    @cached_property
    def digest(self) -> str:
        """Digest of the JSON."""
        return digests.digest(self.to_json())


def _sql_filled(types: Mapping[str, str], key: Sequence[str], name: str, imputations: Sequence[Imputation]) -> str:
    column, cases = sql.column_reference(name), []
    for imputation in imputations:
        lacks = f"{BRIDGED} AND {sql.is_one_of(LAYOUT, imputation.layouts)} AND {column} IS NULL"
        cases.append(f"WHEN {lacks} THEN CAST({imputation.sql(sql_key_hash(types, key, imputation.salt))} AS {types[name]})")
    return f"CASE {' '.join(cases)} ELSE {column} END"


def _filled(key: Sequence[str], of: Mapping[str, Sequence[Imputation]], batch: pa.RecordBatch) -> list[pa.Array]:
    return [reduce(partial(_fill, key, batch), imputations, batch[name]) for name, imputations in of.items()]


def _fill(key: Sequence[str], batch: pa.RecordBatch, array: pa.Array, imputation: Imputation) -> pa.Array:
    lacks = pc.and_(batch[BRIDGED], pc.is_in(batch[LAYOUT], pa.array(imputation.layouts)))
    texts = imputation.arrow(arrow_key_hash(batch, key, imputation.salt))
    naive = texts.cast(pa.timestamp("us")) if pa.types.is_timestamp(array.type) else texts
    return pc.if_else(pc.and_(lacks, array.is_null()).fill_null(False), naive.cast(array.type), array)


class MissingColumn(NamedTuple):
    """A column to impute, the method, and the values to ignore: those that a layout's own map yields."""

    column: str
    fill: str
    but: tuple[str, ...] = ()


def columns_to_impute(data: "Data") -> dict[MissingColumn, list[str]]:
    """The columns to impute, each with the layouts that lack it."""
    layouts: dict[MissingColumn, list[str]] = {}
    for version in data.versions:
        for name, rule in version.columns_from.items():
            if rule.missing not in (None, "null"):
                column = MissingColumn(name, str(rule.missing), tuple(sorted(map(spark_text, rule.values.values()))))
                layouts.setdefault(column, []).append(version.name)
    return layouts


def fit_imputations(rows: Frame, missing: Mapping[MissingColumn, list[str]]) -> Imputations:
    """Fits imputations on rows in any order (DataError for a column without a value, or with too many for `distribution`).

    missing: the layouts that lack each column, see `columns_to_impute`.
    """
    families = {c.column: family_of(rows.types[c.column]) for c in missing}
    values = {name: sql_cast(family, family, name) for name, family in families.items()}
    counted = {
        c.column: fitting.CountedExpression(_as_counted(values[c.column]), [c.column], partial(_counted_values, c.column))
        for c in missing
        if c.fill != "mean"
    }
    numbers = {c.column: c.column for c in missing if c.fill == "mean"}
    statistics = fitting.Statistics(measure_statistics(rows, families, numbers, list(counted.values())))
    imputations = []
    for column, layouts in missing.items():
        name = column.column
        if column.fill == "mean":
            counts = _mean(rows.types[name], statistics.numbers(name))
        else:
            counts = _value_counts(statistics.counts(counted[name]), column, families[name])
        if not counts:
            other = f" but {', '.join(column.but)}, which the map gives" if column.but else ""
            raise DataError(
                f"`{name}` cannot be imputed: rows of the current layout in the train fold have no value of it{other}"
            )
        imputations.append(Imputation(name, column.fill, layouts, *_cumulate(counts)))
    return Imputations(imputations)


def _as_counted(value: SqlValue) -> str:
    return value.column if value.family in ("string", "bigint", "double") else f"CAST({value.column} AS STRING)"


def _counted_values(name: str, values: fitting.BatchValues) -> pa.Array:
    value = values[name]
    return value.array if value.family in ("string", "bigint", "double") else value_texts(value.array)


def _value_counts(counts: pa.Table, column: MissingColumn, family: str) -> dict[str, int]:
    if column.but:
        read = float if family in ("bigint", "double", "decimal") else str  # 1, 1.0 and 1.00 are equal
        but = {read(b) for b in column.but}
        counts = counts.filter(pa.array([read(value) not in but for value in counts["value"].to_pylist()], pa.bool_()))
    if column.fill == "most_frequent":
        return dict.fromkeys(fitting.rank_values(counts, most=1), 1)
    if counts.num_rows > MAX_IMPUTED_VALUES:
        advice = "bucketize it, or choose mean or most_frequent"
        raise DataError(
            f"`{column.column}` has {counts.num_rows:,} values, more than {MAX_IMPUTED_VALUES:,} for `distribution`; {advice}"
        )
    return dict(zip(counts["value"].to_pylist(), counts["amount"].to_pylist(), strict=True))


def _cumulate(counts: Mapping[str, int]) -> tuple[list[str], list[int]]:
    # Sorted by bytes, so that a new row changes as few draws as possible.
    values = sorted(counts, key=str.encode)
    divisor = sum(counts.values()) // hashing.MAX_BUCKETS + 1
    return values, np.cumsum([max(1, counts[v] // divisor) for v in values]).tolist()


def _mean(type_: str, numbers: Mapping[str, Any]) -> dict[str, int]:
    if not numbers["count"]:
        return {}
    family, mean = family_of(type_), numbers["mean"]
    if family == "decimal":
        return {str(Decimal(mean).quantize(Decimal(1).scaleb(-arrow_type(type_).scale))): 1}
    return {str(round(mean)) if family == "bigint" else repr(mean): 1}


# --- in the jobs ---


def impute_training_rows(
    run: "Run", rows: Frame, fold: str, version: object, folds: object
) -> tuple[Frame, Imputations | None]:  # fmt: skip
    """Adds a weight and imputed columns to the rows, and drops bridged rows outside train. Changes nothing if the conf has no versions.

    fold: the column with the fold. version, folds: identify the rows and their folds.
    """
    data = run.conf.data
    if not data.versions:
        return rows, None
    _check(run, rows)
    bridged, in_train = col(BRIDGED), col(fold) == lit("train")
    imputations = _find_or_fit(run, rows.where(~bridged & in_train), version, folds)
    weight: Any = lit(1.0)
    for layout in data.versions:
        weight = when(col(LAYOUT) == lit(layout.name)).then(lit(layout.weight)).otherwise(weight)
    filled = imputations.fill(rows.where(~bridged | in_train), data.key)
    return filled.with_columns({WEIGHT: weight.cast(nw.Float64)}), imputations


def _check(run: "Run", rows: Frame) -> None:
    if LAYOUT not in rows.columns:
        raise DataError(f"table `{run.featured.name}` does not have the layout of its rows; run `ingest` with data.versions")
    by = run.conf.split.by
    for missing in columns_to_impute(run.conf.data):
        if missing.column in ([by] if isinstance(by, str) else by):
            raise ConfError(f"split.by: older layouts lack `{missing.column}`, so it cannot decide the fold of their rows")


def _find_or_fit(run: "Run", rows: Frame, version: object, folds: object) -> Imputations:
    table, missing = run.table(IMPUTATION_TABLE), columns_to_impute(run.conf.data)
    run_id = run.identity("bridge", rows=version, before=run.period, folds=folds)
    fitted = table.frame().where(col("run_id") == lit(run_id)).head(1).rows() if table.exists() else []
    if fitted:
        return Imputations.from_json(fitted[0]["bridge"])
    imputations = fit_imputations(rows, missing) if missing else Imputations([])
    row = (run_id, imputations.digest, run.conf.name, imputations.to_json(), datetime.now(UTC))
    table.append(run.engine.rows([row], _TABLE_COLUMNS), job="features", run_id=run_id)
    return imputations


def impute_scoring_rows(run: "Run", version: "Registered", rows: Frame) -> Frame:
    """Applies the imputations of a model's training to the rows to score (DataError if it had none)."""
    from keyfold.tracking import registry, tags

    if not run.conf.data.versions or BRIDGED not in rows.columns:
        return rows
    text = registry.read_text(version, IMPUTATION_FILE) if tags.BRIDGE in version.tags else None
    if text is None or digests.digest(text) != version.tags[tags.BRIDGE]:
        raise DataError(
            f"{version} was not trained on a table with versions, or its {IMPUTATION_FILE} was changed; train it again"
        )
    return Imputations.from_json(text).fill(rows, run.conf.data.key)
