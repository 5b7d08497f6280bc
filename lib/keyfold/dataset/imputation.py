"""What stands in for the columns that older layouts lack: fitted on new rows of the train fold, and stored.

`mean` and `most_frequent` are one value. `distribution` spreads the new rows' known values over old rows as often as they came, by
the hash of a row's key under the salt `bridge:<column>`: the same row always has the same value. Bridged rows are learnt from with
their layout's weight, and never evaluated on.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core import digests, hashing, sql
from keyfold.core.arrays import Int64s
from keyfold.core.names import BRIDGED, LAYOUT, WEIGHT
from keyfold.core.row_hash import sql_key_hash
from keyfold.core.sql import col
from keyfold.core.types import SqlValue, family_of, spark_text, sql_cast
from keyfold.engine import functions as F
from keyfold.errors import ConfError, DataError
from keyfold.features import fitting
from keyfold.reporting import page

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.conf.data import Data
    from keyfold.runtime.run import Run
    from keyfold.tracking.registry import Registered

IMPUTATION_FILE, IMPUTATION_TABLE = "bridge.json", "keyfold.bridges"
MAX_IMPUTED_VALUES = 1_000  # values that a distribution may have
_TABLE_COLUMNS = "run_id string, digest string, name string, bridge string, fitted_at timestamp"


class Imputation(NamedTuple):
    """For one column of some layouts: values as text, and how many of the counted rows have them or one before."""

    column: str
    fill: str
    layouts: list[str]
    values: list[str]
    cumulative: list[int]

    def sql(self, key_hash: str) -> str:
        """Text: what stands in for a row whose key has that hash."""
        if len(self.values) == 1:
            return sql.text_literal(self.values[0])
        before = f"x -> size(filter({sql.array_expression(map(sql.bigint_literal, self.cumulative))}, c -> c <= x))"
        at = f"transform(array({hashing.sql_reduce(key_hash, self.cumulative[-1])}), {before})[0]"
        return f"{sql.array_expression(map(sql.text_literal, self.values))}[{at}]"

    def numpy(self, key_hash: Int64s) -> npt.NDArray[np.str_]:
        """The same, of hashes."""
        at = np.searchsorted(self.cumulative, hashing.reduce(key_hash, self.cumulative[-1]), side="right")
        return np.array(self.values)[at]

    @property
    def salt(self) -> str:
        """What tells its draws from those of other columns."""
        return f"bridge:{self.column}"


class Imputations:
    """All of a table's stand-ins, as JSON beside the spec."""

    def __init__(self, of: Sequence[Imputation]) -> None:
        self.of = list(of)

    def spark(self, rows: "DataFrame", key: list[str]) -> "DataFrame":
        """The rows, with something in the gaps of those that are bridged."""
        columns = {c: col(c) for c in rows.columns}
        for one in self.of:
            gap = col(BRIDGED) & col(LAYOUT).isin(one.layouts) & col(one.column).isNull()
            drawn = sql.column(one.sql(sql_key_hash(rows, key, one.salt)))
            columns[one.column] = F.when(gap, drawn.cast(rows.schema[one.column].dataType)).otherwise(columns[one.column])
        return rows.select(*(c.alias(name) for name, c in columns.items()))

    def to_json(self) -> str:
        """All there is to know."""
        return digests.canonical_json([one._asdict() for one in self.of])

    @classmethod
    def from_json(cls, text: str) -> "Imputations":
        """What `to_json` wrote."""
        return cls([Imputation(**one) for one in json.loads(text)])

    @cached_property
    def digest(self) -> str:
        """Names them: equal ones have equal digests."""
        return digests.digest(self.to_json())

    def section(self) -> page.PageSection:
        """For the page."""
        cells = [(s.column, ", ".join(s.layouts), s.fill, _shown(s)) for s in self.of]
        caption = "Fitted on rows of the current layout in the train fold."
        return page.PageSection(
            "Stand-ins", page.html_table(["column", "in", "what", "values"], cells, caption=caption), "features"
        )


class MissingColumn(NamedTuple):
    """A column, what is to stand in for it, and the values that it is known not to have: those of the layout's own map."""

    column: str
    fill: str
    but: tuple[str, ...] = ()


def columns_to_impute(data: "Data") -> dict[MissingColumn, list[str]]:
    """What has to stand in, and the layouts that lack it."""
    found: dict[MissingColumn, list[str]] = {}
    for version in data.versions:
        for column, way in version.columns_from.items():
            if way.missing not in (None, "null"):
                lacking = MissingColumn(column, str(way.missing), tuple(sorted(map(spark_text, way.values.values()))))
                found.setdefault(lacking, []).append(version.name)
    return found


def fit_imputations(rows: "DataFrame", lacking: Mapping[MissingColumn, list[str]]) -> Imputations:
    """The stand-ins that rows give, whatever their order (DataError where a column has no value in them, or too many)."""
    families = {one.column: family_of(rows.schema[one.column].dataType.simpleString()) for one in lacking}
    values = {c: sql_cast(family, family, c) for c, family in families.items()}
    counted = {one.column: fitting.CountedExpression(_counted(values[one.column])) for one in lacking if one.fill != "mean"}
    numbers = {one.column: values[one.column] for one in lacking if one.fill == "mean"}
    found = fitting.Statistics(fitting.measure_statistics(rows, numbers, list(counted.values())))
    made = []
    for one, layouts in lacking.items():
        if one.fill == "mean":
            shares = _mean(rows, one.column, found.numbers(one.column))
        else:
            shares = _shares(found.counts(counted[one.column]), one, families[one.column])
        if not shares:
            other = f" but {', '.join(one.but)}, which the map gives" if one.but else ""
            raise DataError(f"nothing can stand in for `{one.column}`: new rows of the train fold have no value of it{other}")
        made.append(Imputation(one.column, one.fill, layouts, *_cumulated(shares)))
    return Imputations(made)


def _counted(value: SqlValue) -> str:
    return value.column if value.family in ("string", "bigint", "double") else f"CAST({value.column} AS STRING)"


def _shares(counts: pa.Table, one: MissingColumn, family: str) -> dict[str, int]:
    if one.but:
        read = float if family in ("bigint", "double", "decimal") else str  # 1 is 1.0, and 1.00
        but = {read(b) for b in one.but}
        counts = counts.filter(pa.array([read(value) not in but for value in counts["value"].to_pylist()], pa.bool_()))
    if one.fill == "most_frequent":
        return dict.fromkeys(fitting.rank_values(counts, most=1), 1)
    if counts.num_rows > MAX_IMPUTED_VALUES:
        advice = "bucketize it, or choose mean or most_frequent"
        raise DataError(
            f"`{one.column}` has {counts.num_rows:,} values, more than {MAX_IMPUTED_VALUES:,} for `distribution`; {advice}"
        )
    return dict(zip(counts["value"].to_pylist(), counts["amount"].to_pylist(), strict=True))


def _cumulated(shares: Mapping[str, int]) -> tuple[list[str], list[int]]:
    # In the order of their bytes, so that a new row moves as few draws as it can.
    values = sorted(shares, key=str.encode)
    divisor = sum(shares.values()) // hashing.MAX_BUCKETS + 1
    return values, np.cumsum([max(1, shares[v] // divisor) for v in values]).tolist()


def _mean(rows: "DataFrame", column: str, numbers: Mapping[str, Any]) -> dict[str, int]:
    if not numbers["count"]:
        return {}
    type_: Any = rows.schema[column].dataType
    family, mean = family_of(type_.simpleString()), numbers["mean"]
    if family == "decimal":
        return {str(Decimal(mean).quantize(Decimal(1).scaleb(-type_.scale))): 1}
    return {str(round(mean)) if family == "bigint" else repr(mean): 1}


def _shown(one: Imputation) -> str:
    if len(one.values) == 1:
        return one.values[0]
    parts = np.diff([0, *one.cumulative]) / one.cumulative[-1]
    first = sorted(zip(-parts, one.values, strict=True))[:5]
    return ", ".join(f"{value} {-part:.1%}" for part, value in first) + (" …" if len(parts) > 5 else "")


# --- in the jobs ---


def impute_training_rows(
    run: "Run", rows: "DataFrame", fold: str, version: object, folds: object
) -> "tuple[DataFrame, Imputations | None]":
    """Rows to learn from, with a weight and without gaps; of bridged ones those of the train fold alone."""
    data = run.conf.data
    if not data.versions:
        return rows, None
    _check(run, rows)
    stand_ins = _fitted(run, rows.where(~col(BRIDGED) & (col(fold) == "train")), version, folds)
    weight = F.lit(1.0)
    for layout in data.versions:
        weight = F.when(col(LAYOUT) == layout.name, F.lit(layout.weight)).otherwise(weight)
    kept = rows.where(~col(BRIDGED) | (col(fold) == "train"))
    return stand_ins.spark(kept, data.key).withColumn(WEIGHT, weight), stand_ins


def _check(run: "Run", rows: "DataFrame") -> None:
    if LAYOUT not in rows.columns:
        raise DataError(f"table `{run.featured.name}` does not say which layout its rows have; run `ingest` with data.versions")
    by = run.conf.split.by
    for column in (one.column for one in columns_to_impute(run.conf.data)):
        if column in ([by] if isinstance(by, str) else by):
            raise ConfError(f"split.by: older rows lack `{column}`, so it cannot say in which fold they are")


def _fitted(run: "Run", rows: "DataFrame", version: object, folds: object) -> Imputations:
    from datetime import UTC, datetime

    table, lacking = run.table(IMPUTATION_TABLE), columns_to_impute(run.conf.data)
    run_id = run.identity("bridge", rows=version, before=run.period, folds=folds)
    known = table.read().where(col("run_id") == run_id).select("bridge").take(1) if table.exists() else []
    if known:
        return Imputations.from_json(known[0][0])
    stand_ins = fit_imputations(rows, lacking) if lacking else Imputations([])
    row = (run_id, stand_ins.digest, run.conf.name, stand_ins.to_json(), datetime.now(UTC))
    table.append(run.spark.createDataFrame([row], _TABLE_COLUMNS).coalesce(1), job="features", run_id=run_id)
    return stand_ins


def impute_scoring_rows(run: "Run", version: "Registered", rows: "DataFrame") -> "DataFrame":
    """Rows to be scored: those that are bridged have what stood in when the model was trained (DataError: it had none)."""
    from keyfold.tracking import registry

    if not run.conf.data.versions or BRIDGED not in rows.columns:
        return rows
    text = registry.read_text(version, IMPUTATION_FILE) if "keyfold.bridge" in version.tags else None
    if text is None or digests.digest(text) != version.tags["keyfold.bridge"]:
        raise DataError(
            f"{version} was not trained on a table with versions, or its {IMPUTATION_FILE} was changed; train it again"
        )
    return Imputations.from_json(text).spark(rows, run.conf.data.key)
