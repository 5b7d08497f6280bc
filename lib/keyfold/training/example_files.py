"""The table of features that networks read: written once for a spec and its rows, partitioned into streams of Parquet files."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from keyfold.core import hashing
from keyfold.core.names import FOLD, LABEL, ORDER, PART, STREAM, WEIGHT
from keyfold.core.row_hash import sql_key_hash
from keyfold.engine import functions as F
from keyfold.engine.session import temporary_settings
from keyfold.engine.spark_columns import col, column
from keyfold.engine.spark_frame import data_of
from keyfold.errors import DataError
from keyfold.features.matrix import Layout
from keyfold.models.torch import STREAMS, Torch, rows_per_stream
from keyfold.training.context import TrainingContext
from keyfold.training.streams import SHUFFLE_ROWS, RowGroup, StreamPlan, row_groups, shuffle_rows

if TYPE_CHECKING:
    from keyfold.engine.tables import Table
    from keyfold.training.loop import TrainingData

NETWORK_FOLDS = ("train", "validation")


def training_data(context: TrainingContext, conf: Torch) -> "TrainingData":
    """The rows of both folds as stream plans, and the weights of the classes."""
    from keyfold.training.loop import TrainingData

    layout, each = Layout.of(context.spec.outs), rows_per_stream(conf.loop.batch_size)
    groups = _stream_groups(context)
    train, validation = (
        StreamPlan(groups[fold], layout, context.train.seed, each, shuffle_rows(layout)) for fold in NETWORK_FOLDS
    )
    return TrainingData(train, validation, context.class_weights or (1.0, 1.0))


def _stream_groups(context: TrainingContext) -> dict[str, list[list[RowGroup]]]:
    """The row groups of each stream, by fold (DataError if rows of the table were deleted or added)."""
    run = context.run
    table = run.used("examples")
    run_id = run.identity("examples", **context.rows.pins(run), spec=context.spec.digest, streams=STREAMS)
    last = next(table.commits(), None) if table.exists() else None
    if last is None or last.metadata.get("run_id") != run_id or table.version().version != last.version:
        _write_features(context, table, run_id)
        last = next(table.commits())
    counts: dict[str, int] = last.metadata[STREAM]
    files: dict[str, list[str]] = {stream: [] for stream in counts}
    for file in table.read(last.version).inputFiles():
        match = re.search(rf"/{STREAM}=([^/]+)/", unquote(file))
        if match and match[1] in files:
            files[match[1]].append(file)
    groups = {stream: row_groups(of_stream) for stream, of_stream in files.items()}
    for stream, rows in counts.items():
        if (present := sum(group.rows for group in groups[stream])) != rows:
            raise DataError(
                f"table `{table.name}`: the files of {stream} have {present:,} rows, and {rows:,} were written; rows were deleted "
                "or added since. Drop the table, and run `train` again"
            )
    return {fold: [groups[_stream_name(fold, stream)] for stream in range(STREAMS)] for fold in NETWORK_FOLDS}


def _write_features(context: TrainingContext, table: "Table", run_id: str) -> None:
    rows = data_of(context.rows.rows).where(col(FOLD).isin(*NETWORK_FOLDS))
    number, order = (sql_key_hash(context.rows.rows.types, context.key, salt) for salt in ("stream", "order"))
    columns: dict[str, Any] = {
        STREAM: F.concat(col(FOLD), F.lit("-"), F.lpad(column(hashing.sql_reduce(number, STREAMS)).cast("string"), 2, "0")),
        ORDER: column(order),
        LABEL: col(LABEL),
    }
    columns |= {WEIGHT: col(WEIGHT)} if context.rows.imputations else {}
    features = context.spec.out_of_fold(PART).transform(rows, [column.alias(name) for name, column in columns.items()])
    present: dict[str, int] = dict(rows.select(columns[STREAM].alias(STREAM)).groupBy(STREAM).count().collect())  # type: ignore[arg-type]
    names = [_stream_name(fold, stream) for fold in NETWORK_FOLDS for stream in range(STREAMS)]
    ordered = features.repartition(STREAMS, STREAM).sortWithinPartitions(STREAM, ORDER)
    with temporary_settings(context.run.spark, {"spark.sql.files.maxRecordsPerFile": str(4 * SHUFFLE_ROWS)}):
        table.replace(
            ordered, STREAM, {name: present.get(name, 0) for name in names},
            retention=context.run.conf.data.retention, schema=True, job="train", run_id=run_id,
        )  # fmt: skip


def _stream_name(fold: str, stream: int) -> str:
    return f"{fold}-{stream:02d}"
