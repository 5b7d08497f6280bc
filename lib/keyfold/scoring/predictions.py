"""Reads the predictions of a use case: by the engine of a run, or without an engine from a conf."""

from typing import TYPE_CHECKING, overload

import pyarrow as pa

from keyfold.conf.table_names import table_use
from keyfold.conf.use_case import Conf
from keyfold.engine.arrow_types import without_views
from keyfold.engine.columns import col, lit
from keyfold.engine.home import home
from keyfold.engine.spark_frame import SparkFrame
from keyfold.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from keyfold.runtime.run import Run


@overload
def read_predictions(source: Conf, period: str | None = None) -> "pd.DataFrame": ...
@overload
def read_predictions(source: "Run", period: str | None = None) -> "pd.DataFrame | DataFrame": ...
def read_predictions(source: "Conf | Run", period: str | None = None) -> "pd.DataFrame | DataFrame":
    """Returns the predictions of a use case, one row per key and period.

    source: a `Run`, for a DataFrame of Spark, which is evaluated lazily, or of pandas on the embedded engine; or a conf, for a pandas
        DataFrame, which deltalake reads from the folder of tables without Spark.
    period: the period to read, such as "2026-10"; None reads all periods.

    Columns: the key; `status` ("scored" or "quarantined") and `reason` (text); `fold`; `prediction` (the class, number or labels)
    and `probability` (double, of the positive or the predicted class), and the further columns of the label's kind, such as `probabilities`
    (a mapping of class to double); all are NULL if the row is quarantined (None in integer columns of pandas); `period`, `model`, `model_version`,
    `spec_digest`, `run_id` and `scored_at`. Rows have no order. DataError if the table does not exist.
    """
    if not isinstance(source, Conf):
        rows = source.predictions.frame()
        rows = rows if period is None else rows.where(col("period") == lit(period))
        return rows.data if isinstance(rows, SparkFrame) else _to_pandas(rows.to_arrow())
    return _read_without_spark(table_use(source, "predictions").name, period)


def _read_without_spark(name: str, period: str | None) -> "pd.DataFrame":
    from deltalake import DeltaTable, QueryBuilder

    path = home().joinpath("tables", *name.split("."))
    if not (path / "_delta_log").is_dir():
        raise DataError(f"there is no table `{name}` in {home()}; run `score` first, or give a Run if the table is in a catalog")
    query = "SELECT * FROM predictions"
    if period is not None:
        query += " WHERE period = '{}'".format(period.replace("'", "''"))
    # Not DeltaTable.to_pandas: a program that ends right after it may abort (apache/arrow#34314).
    rows = QueryBuilder().register("predictions", DeltaTable(str(path))).execute(query)
    return _to_pandas(pa.table(rows))


def _to_pandas(rows: pa.Table) -> "pd.DataFrame":
    plain = rows.cast(pa.schema([field.with_type(without_views(field.type)) for field in rows.schema]))
    # pandas would convert integers with NULLs to doubles.
    return plain.to_pandas(integer_object_nulls=True, maps_as_pydicts="strict")
