"""Keyed image jobs: each image of a table is converted, or quarantined with its reason, in one commit."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from keyfold.conf.images import Images
from keyfold.conf.table_names import MADE, key_name_fault
from keyfold.dataset import labelled_rows
from keyfold.engine import functions as F
from keyfold.engine.arrow import map_batches
from keyfold.engine.session import parallel_tasks
from keyfold.engine.spark_columns import col
from keyfold.engine.spark_frame import SparkFrame, computed_column, data_of
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.imaging.decoder_process import Decoder, DecoderOptions
from keyfold.imaging.operations import Output
from keyfold.imaging.pixels import image_path
from keyfold.ingestion.job import ingest
from keyfold.reporting.sections import reconciliation_section
from keyfold.runtime.periods import in_period, period_of
from keyfold.scoring.key_check import check_keys
from keyfold.scoring.outcomes import reasons_text, refuse_above_limit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.engine.table_versions import TableVersion
    from keyfold.engine.tables import Table
    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run

_TYPES = {
    "status": pa.string(), "reason": pa.string(), "width": pa.int32(), "height": pa.int32(), "bytes": pa.int64(),
    "sha256": pa.string(), "path": pa.string(), "image": pa.binary(),
}  # fmt: skip
BATCH_BYTES = 2**25  # of converted images that a task holds before it yields them


def make_images(run: "Run") -> None:
    """Converts the images of the period in one commit; does nothing if the same files were converted before.

    A conf with `data.source` is ingested first. Raises ConfError if the conf has no section `images`, DataError for a manifest with
    faulty keys or more failures than `images.max_quarantine`, PromiseError.
    """
    conf = run.conf
    if conf.images is None:
        raise ConfError("images is not set: name a column and the operations on its images")
    if conf.data.source is not None:
        ingest(run)
        _refuse_quarantined(run)
    with run.job("images") as job:
        pinned, frame = labelled_rows.pinned_table(run)
        rows = data_of(frame)
        period = run.period or str(rows.select(F.max(computed_column(period_of(conf.data, frame.types)))).collect()[0][0])
        table = run.images
        job.inputs = {run.rows.name: pinned}
        _check_columns(conf.images, conf.data.key, rows)
        rows = data_of(in_period(conf.data, frame, period))
        job.run_id = run.identity("images", rows=pinned, period=period, files=_files_digest(rows, conf.images.input_col))
        with table.lock(period, run.say):
            keys = _check_keys(run, job, rows, pinned, period)
            run.once(
                job,
                partial(_count_committed, conf.images, table, period, job.run_id, keys),
                partial(_convert, run, job, conf.images, rows, table, period, keys),
                lambda _: f"the images of period {period} were made before; nothing new was committed",
                lambda keys: _summarize(run, job, table, period, keys),
            )


def _check_keys(run: "Run", job: "Job", rows: "DataFrame", pinned: "TableVersion", period: str) -> int:
    """Number of keys of the manifest (DataError if it is empty, or if a row has no unique key)."""
    with run.step("check") as step:
        keys = check_keys(run, job, SparkFrame(rows), pinned, period)
        step.rows = job.counts["read"] = keys.read
    if not keys.read:
        raise DataError(f"table `{run.rows.name}` has no row in period {period}")
    if keys.refused:
        raise DataError(f"{keys.refused:,} rows of the manifest have no unique key; they are in `{run.quarantine.name}`")
    return keys.keys


def _refuse_quarantined(run: "Run") -> None:
    ingested = run.jobs[-1]
    if ingested.counts.get("quarantined"):
        rows = run.quarantine.read().where(col("run_id") == ingested.run_id).select("reason", "raw").sort("raw").take(3)
        examples = "; ".join(f"{row.reason}: {row.raw}"[:200] for row in rows)
        raise DataError(
            f"{ingested.counts['quarantined']:,} rows of the manifest cannot be used: {examples} (all are in `{run.quarantine.name}`)"
        )


def _check_columns(conf: Images, key: list[str], rows: "DataFrame") -> None:
    if conf.input_col not in rows.columns:
        raise DataError(f"images.input_col: the table has no column `{conf.input_col}`{suggestion(conf.input_col, rows.columns)}")
    if (type_ := rows.schema[conf.input_col].dataType.simpleString()) not in ("string", "binary"):
        raise DataError(f"images.input_col: `{conf.input_col}` is {type_}; it must be text (paths) or binary (files)")
    if same := [name for name in key if name.casefold() in MADE]:
        raise DataError(key_name_fault(same[0], "images"))


def _files_digest(rows: "DataFrame", column: str) -> str:
    """Digest of the sizes and times of the manifest's files; empty for a column of bytes, whose table version is pinned."""
    if rows.schema[column].dataType.simpleString() == "binary":
        return ""
    files = map_batches(rows.select(col(column)), _file_stamps, "stamp string")
    return str(files.select(F.sum(F.xxhash64("stamp").cast("decimal(20,0)"))).collect()[0][0])  # for any order of the rows


def _file_stamps(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        stamps = [_file_stamp(path) for path in batch.column(0).drop_null().to_pylist()]
        yield pa.RecordBatch.from_arrays([pa.array(stamps, pa.string())], names=["stamp"])


def _file_stamp(path: str) -> str:
    try:
        status = image_path(path).stat()
    except (OSError, ValueError):
        return f"{path} cannot be read"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _count_committed(conf: Images, table: "Table", period: str, run_id: str, keys: int) -> int | None:
    """Number of keys, if the period has the rows of this run; else None (DataError if too many images failed)."""
    if not table.holds(period, run_id, keys):
        return None
    _check_share(conf, table, period, keys)
    return keys


def _convert(run: "Run", job: "Job", conf: Images, rows: "DataFrame", table: "Table", period: str, keys: int) -> int:
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    key = run.conf.data.key
    balanced = _balance_tasks(run, conf, rows.select(*map(col, key), col(conf.input_col).alias("keyfold_cell")), keys)
    folder = f"{conf.folder}/{job.run_id}" if conf.folder else ""
    fields = [StructField(name, from_arrow_type(type_)) for name, type_ in _TYPES.items()]
    schema = StructType([*balanced.schema.fields[: len(key)], *fields])
    metadata: dict[str, Any] = {"job": "images", "run_id": job.run_id, "counts": {"read": keys}}
    with run.step("make") as step:
        images = map_batches(balanced, partial(_convert_batches, conf.decoder_options, len(key), folder), schema)
        images = images.withColumns({"period": F.lit(period), "run_id": F.lit(job.run_id), "made_at": F.current_timestamp()})
        table.replace(
            images.select(*map(col, [*key, *MADE])), "period", {period: keys},
            check=lambda: _check_share(conf, table, period, keys), recorded=True, **metadata,
        )  # fmt: skip
        step.rows = keys
    run.jobs[-1].facts["images a second"] = round(keys / step.seconds, 1)
    return keys


def _balance_tasks(run: "Run", conf: Images, rows: "DataFrame", keys: int) -> "DataFrame":
    """Rows in tasks of about equal pixels: images are dealt to the tasks from the largest to the smallest, back and forth."""
    from pyspark.sql import Window
    from pyspark.sql.types import LongType, StructField, StructType

    key = run.conf.data.key
    tasks = max(1, min(keys, 4 * parallel_tasks(run.spark)))
    spread = rows.repartition(tasks)
    schema = StructType([*rows.schema.fields[: len(key)], StructField("keyfold_pixels", LongType())])
    sizes = map_batches(spread, partial(_sizes, conf.decoder_options, len(key)), schema)
    place = F.row_number().over(Window.orderBy(col("keyfold_pixels").desc(), *map(col, key))) - 1
    at = place % (2 * tasks)
    task = F.when(at < tasks, at).otherwise(2 * tasks - 1 - at)
    placed = sizes.select(*map(col, key), task.alias("keyfold_task"))
    return rows.join(placed, key).repartitionById(tasks, col("keyfold_task")).drop("keyfold_task")


def _sizes(options: DecoderOptions, keys: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    decoder = _decoder(options)
    for batch in batches:
        pixels = [decoder.size(cell.as_py()).facts.get("pixels", 0) if cell.is_valid else 0 for cell in batch.column(keys)]
        yield pa.RecordBatch.from_arrays(
            [*batch.columns[:keys], pa.array(pixels, pa.int64())], names=[f"_{i}" for i in range(keys + 1)]
        )


def _convert_batches(
    options: DecoderOptions, keys: int, folder: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """One outcome per row, in batches of at most about BATCH_BYTES of converted images."""
    decoder = _decoder(options)
    for batch in batches:
        begin, size, outcomes = 0, 0, []
        for row, cell in enumerate(batch.column(keys)):
            into = f"{folder}/{image_file_name([c[row].as_py() for c in batch.columns[:keys]], options.output)}" if folder else ""
            outcomes.append(_outcome(decoder, cell, into))
            size += len(outcomes[-1]["image"] or b"")
            if size > BATCH_BYTES or row + 1 == batch.num_rows:
                columns = [pa.array([o[name] for o in outcomes], type_) for name, type_ in _TYPES.items()]
                kept = [c.slice(begin, len(outcomes)) for c in batch.columns[:keys]]
                yield pa.RecordBatch.from_arrays([*kept, *columns], names=[f"_{i}" for i in range(keys + len(columns))])
                begin, size, outcomes = row + 1, 0, []


def _outcome(decoder: Decoder, cell: pa.Scalar, into: str) -> dict[str, Any]:
    facts, file = decoder.made(cell.as_py(), into) if cell.is_valid else ({"reason": "there is no image: the cell is NULL"}, b"")
    succeeded = "reason" not in facts
    facts = {"reason": facts.pop("note", None)} | facts
    return dict.fromkeys(_TYPES) | facts | {
        "status": "made" if succeeded else "quarantined", "path": into if succeeded and into else None, "image": file or None
    }  # fmt: skip


_decoders: dict[str, Decoder] = {}


def _decoder(options: DecoderOptions) -> Decoder:
    """The decoder of this worker, which serves all its tasks; its process ends with the worker's."""
    name = options.model_dump_json()
    if name not in _decoders:
        for other in _decoders.values():
            other.close()
        _decoders.clear()
        _decoders[name] = Decoder(options)
    return _decoders[name]


def image_file_name(key: Sequence[Any], output: Output) -> str:
    """A relative path that shows the key and cannot leave its folder, whatever the key holds."""
    text = json.dumps([str(part) for part in key], ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9]+", "_", " ".join(map(str, key))).strip("_")[:60]
    return f"{digest[:2]}/{readable or 'key'}-{digest[:20]}.{output.ending}"


def _counts(table: "Table", period: str) -> "tuple[Counter[str | None], Counter[str]]":
    """Numbers of converted images by note (None: no note), and of the others by reason."""
    rows = table.read().where(col("period") == period).groupBy("status", "reason").count().collect()
    converted = Counter({r.reason: r[2] for r in rows if r.status == "made"})
    return converted, Counter({r.reason: r[2] for r in rows if r.status != "made"})


def _check_share(conf: Images, table: "Table", period: str, keys: int) -> None:
    """DataError if the share of failed images exceeds images.max_quarantine."""
    _, refused = _counts(table, period)
    refuse_above_limit(refused.total(), keys, conf.max_quarantine, "images", f"images cannot be made{reasons_text(refused)}")


def _summarize(run: "Run", job: "Job", table: "Table", period: str, read: int) -> dict[str, int]:
    """Adds the counts to the job's page; returns those for the ledger."""
    made, refused = _counts(table, period)
    counts = {"made": made.total(), "quarantined": refused.total()}
    for note in sorted(filter(None, made)):
        run.say(f"{made[note]:,} images were made with a note: {note}")
    job.facts |= {"images made": counts["made"], "images quarantined": counts["quarantined"], "table of images": table.name}
    job.sections.append(reconciliation_section({"read": read, **counts}, refused, title="Images"))
    return {"scored": counts["made"], "quarantined": counts["quarantined"]}
