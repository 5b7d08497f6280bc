"""The table of features that networks read: written once for a spec and its rows, partitioned into streams of Parquet files."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import hashing, sql
from keyfold.core.names import FOLD, LABEL, ORDER, PART, STREAM, WEIGHT
from keyfold.core.row_hash import arrow_key_hash, sql_key_hash
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.engine.columns import col, count_rows
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.hashes import key_hash
from keyfold.errors import DataError
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.labels import Binary, Classes, Label, Multilabel, Number
from keyfold.models.heads import Head, pack_bits
from keyfold.models.torch import STREAMS, Torch, rows_per_stream
from keyfold.training.context import TrainingContext
from keyfold.training.streams import SHUFFLE_ROWS, RowGroup, StreamPlan, row_groups, shuffle_rows, stored_name

if TYPE_CHECKING:
    from keyfold.engine.tables import Table
    from keyfold.training.loop import TrainingData

NETWORK_FOLDS = ("train", "validation")
_GROUP_BYTES = 100 * 10**6  # of a row group, at most; Spark cuts one of 128 MiB
_OTHERS = 24  # bytes of a row's label, weight and order


def training_data(context: TrainingContext, conf: Torch) -> "TrainingData":
    """The rows of both folds as stream plans, and the weights of the classes."""
    from keyfold.training.loop import TrainingData

    layout, each, head = Layout.of(context.spec.outs), rows_per_stream(conf.loop.batch_size), Head.of(context.rows.label)
    groups = _stream_groups(context)
    train, validation = (
        StreamPlan(groups[fold], layout, context.train.seed, each, shuffle_rows(layout, head.label_cells), head.label_cells)
        for fold in NETWORK_FOLDS
    )
    return TrainingData(train, validation, context.class_weights or (), head)


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
    for file in table.files(last.version):
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
    rows = _with_streams(_encoded(context.rows).where(col(FOLD).is_in(NETWORK_FOLDS)), context.key)
    present: dict[str, int] = {row[STREAM]: row["n"] for row in rows.group([STREAM], n=count_rows()).rows()}
    names = [_stream_name(fold, stream) for fold in NETWORK_FOLDS for stream in range(STREAMS)]
    kept = [STREAM, ORDER, LABEL, *([WEIGHT] if context.rows.imputations else [])]
    features = context.spec.out_of_fold(PART).transform(rows, kept)
    features = features.rename({name: stored_name(name) for name in context.spec.outs if stored_name(name) != name})
    table.replace(
        features.clustered([STREAM], [ORDER], STREAMS), STREAM, {name: present.get(name, 0) for name in names},
        retention=context.run.conf.data.retention, schema=True, rows_per_file=_group_rows(context.spec.outs, Head.of(context.rows.label)), job="train",
        run_id=run_id,
    )  # fmt: skip


def _encoded(labelled: LabelledRows) -> Frame:
    """The rows with the label as the network learns it: a number, a boolean, the code of a class or a band, or the bits of several labels."""
    label = labelled.label
    if isinstance(label, Multilabel):
        return labelled.rows.compute(Computed({LABEL: pa.list_(pa.int32())}, partial(_bits, label)))
    if isinstance(label, Binary | Classes) or (isinstance(label, Number) and label.transform is None):
        return labelled.rows
    return labelled.rows.compute(Computed({LABEL: pa.float64()}, partial(_encode, label)))


def _encode(label: Label, batch: pa.RecordBatch) -> list[pa.Array]:
    return [pa.array(label.encode(batch[LABEL]), pa.float64())]


def _bits(label: Multilabel, batch: pa.RecordBatch) -> list[pa.Array]:
    cells = pack_bits(label.measured(batch[LABEL]))
    return [pa.FixedSizeListArray.from_arrays(pa.array(cells.reshape(-1)), cells.shape[1]).cast(pa.list_(pa.int32()))]


def _group_rows(outs: Mapping[str, FeatureOutput], head: Head) -> int:
    """Rows of a file, which is one row group: equal on all engines, because they decide the order of training."""
    row = (
        sum((8 if out.type == "double" else 4) * (out.length or 1) for out in outs.values())
        + _OTHERS
        + 4 * (head.label_cells - 1)
    )
    return max(1, min(4 * SHUFFLE_ROWS, _GROUP_BYTES // row))


def _with_streams(rows: Frame, key: Sequence[str]) -> Frame:
    """Adds the stream and the order of each row."""
    number = hashing.sql_reduce(sql_key_hash(rows.types, key, "stream"), STREAMS)
    text = f"concat({sql.column_reference(FOLD)}, '-', lpad(CAST({number} AS STRING), 2, '0'))"
    order = key_hash(ORDER, rows.types, key, "order")
    return rows.compute(order).compute(Computed({STREAM: pa.string()}, partial(_streams, key), [text]))


def _streams(key: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    numbers = pa.array(hashing.reduce(arrow_key_hash(batch, key, "stream"), STREAMS)).cast(pa.string())
    return [pc.binary_join_element_wise(batch[FOLD].cast(pa.string()), pc.utf8_lpad(numbers, 2, "0"), "-")]


def _stream_name(fold: str, stream: int) -> str:
    return f"{fold}-{stream:02d}"
