"""Keyed image jobs: every image of the manifest is made into another, or quarantined with its reason, in one commit."""

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
from keyfold.core.names import PERIOD
from keyfold.core.sql import col
from keyfold.dataset import labelled_rows
from keyfold.engine import functions as F
from keyfold.engine.arrow import map_batches
from keyfold.engine.session import parallel_tasks
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

    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Job, Run

_TYPES = {
    "status": pa.string(), "reason": pa.string(), "width": pa.int32(), "height": pa.int32(), "bytes": pa.int64(),
    "sha256": pa.string(), "path": pa.string(), "image": pa.binary(),
}  # fmt: skip
HELD = 2**25  # bytes of new files that a task holds before it hands them over


def make_images(run: "Run") -> None:
    """Makes the period's images, unless just that was done (ConfError, DataError, PromiseError)."""
    conf = run.conf
    if conf.images is None:
        raise ConfError("images is not set: say what is to be done to the images of which column")
    if conf.data.source is not None:
        ingest(run)
        _refuse_quarantined(run)
    with run.job("images") as job:
        pinned, rows = labelled_rows.pinned_table(run)
        period = run.period or str(rows.select(F.max(period_of(conf.data, rows))).collect()[0][0])
        table = run.images
        job.inputs = {run.rows.name: pinned}
        _check_columns(conf.images, conf.data.key, rows)
        rows = rows.where(in_period(conf.data, rows, period)).drop(PERIOD).withColumn(PERIOD, F.lit(period))
        job.run_id = run.identity("images", rows=pinned, period=period, files=_stamp(rows, conf.images.input_col))
        with table.lock(period, run.say):
            with run.step("check") as step:
                found = check_keys(run, job, rows, pinned, period)
                step.rows = job.counts["read"] = found.read
            if not found.read:
                raise DataError(f"table `{run.rows.name}` has no row in period {period}")
            if found.refused:
                raise DataError(
                    f"{found.refused:,} rows of the manifest have no key of their own; they are in `{run.quarantine.name}`"
                )
            run.once(
                job,
                partial(_known, conf.images, table, period, job.run_id, found.keys),
                partial(_make, run, job, conf.images, rows, table, period, found.keys),
                lambda _: f"the images of period {period} were made before; nothing new was committed",
                lambda keys: _account(run, keys, table, period),
            )


def _refuse_quarantined(run: "Run") -> None:
    ingested = run.jobs[-1]
    if ingested.counts.get("quarantined"):
        rows = run.quarantine.read().where(col("run_id") == ingested.run_id).select("reason", "raw").sort("raw").take(3)
        some = "; ".join(f"{row.reason}: {row.raw}"[:200] for row in rows)
        raise DataError(
            f"{ingested.counts['quarantined']:,} rows of the manifest cannot be used: {some} (all are in `{run.quarantine.name}`)"
        )


def _check_columns(conf: Images, key: list[str], rows: "DataFrame") -> None:
    if conf.input_col not in rows.columns:
        raise DataError(f"images.input_col: the table has no column `{conf.input_col}`{suggestion(conf.input_col, rows.columns)}")
    if (type_ := rows.schema[conf.input_col].dataType.simpleString()) not in ("string", "binary"):
        raise DataError(f"images.input_col: `{conf.input_col}` is {type_}; it must be text (paths) or binary (files)")
    if same := [name for name in key if name.casefold() in MADE]:
        raise DataError(key_name_fault(same[0], "images"))


def _stamp(rows: "DataFrame", column: str) -> str:
    """Another one once a file that the manifest names is changed, by size or time; of bytes the table's version tells."""
    if rows.schema[column].dataType.simpleString() == "binary":
        return ""
    files = map_batches(rows.select(col(column)), _stamps, "stamp string")
    return str(files.select(F.sum(F.xxhash64("stamp").cast("decimal(20,0)"))).collect()[0][0])  # whatever the order of rows


def _stamps(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        stamps = [_file(path) for path in batch.column(0).drop_null().to_pylist()]
        yield pa.RecordBatch.from_arrays([pa.array(stamps, pa.string())], names=["stamp"])


def _file(path: str) -> str:
    try:
        of = image_path(path).stat()
    except (OSError, ValueError):
        return f"{path} cannot be read"
    return f"{path} {of.st_size} {of.st_mtime_ns}"


def _known(conf: Images, table: "Table", period: str, run_id: str, keys: int) -> int | None:
    """How many images there are, where the period's own rows are all of this run (DataError: too many were not made)."""
    if not table.holds(period, run_id, keys):
        return None
    _check_share(conf, table, period, keys)
    return keys


def _make(run: "Run", job: "Job", conf: Images, rows: "DataFrame", table: "Table", period: str, keys: int) -> int:
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    key = run.conf.data.key
    dealt = _dealt(run, conf, rows.select(*map(col, key), col(conf.input_col).alias("keyfold_cell")), keys)
    folder = f"{conf.folder}/{job.run_id}" if conf.folder else ""
    fields = [StructField(name, from_arrow_type(type_)) for name, type_ in _TYPES.items()]
    schema = StructType([*dealt.schema.fields[: len(key)], *fields])
    with run.step("make") as step:
        made = map_batches(dealt, partial(_made, conf.decoder_options, len(key), folder), schema)
        made = made.withColumns({"period": F.lit(period), "run_id": F.lit(job.run_id), "made_at": F.current_timestamp()})
        made = made.select(*map(col, [*key, *MADE]))
        told: dict[str, Any] = {"job": "images", "run_id": job.run_id, "counts": {"read": keys}}
        table.replace(
            made, "period", {period: keys}, check=lambda: _check_share(conf, table, period, keys), recorded=True, **told
        )
        step.rows = keys
    run.facts |= {"images a second": round(keys / step.seconds, 1)}
    return keys


def _dealt(run: "Run", conf: Images, rows: "DataFrame", keys: int) -> "DataFrame":
    """In tasks that have as many pixels each: largest first they are dealt out like cards, there and back."""
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


def _sizes(opening: DecoderOptions, keys: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    at = _decoder(opening)
    for batch in batches:
        found = [at.size(cell.as_py()).facts.get("pixels", 0) if cell.is_valid else 0 for cell in batch.column(keys)]
        yield pa.RecordBatch.from_arrays(
            [*batch.columns[:keys], pa.array(found, pa.int64())], names=[f"_{i}" for i in range(keys + 1)]
        )


def _made(opening: DecoderOptions, keys: int, folder: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """By row its outcome; at most some megabytes of new files at a time."""
    at = _decoder(opening)
    for batch in batches:
        begin, held, outcomes = 0, 0, []
        for row, cell in enumerate(batch.column(keys)):
            into = f"{folder}/{image_file_name([c[row].as_py() for c in batch.columns[:keys]], opening.output)}" if folder else ""
            outcomes.append(_outcome(at, cell, into))
            held += len(outcomes[-1]["image"] or b"")
            if held > HELD or row + 1 == batch.num_rows:
                columns = [pa.array([o[name] for o in outcomes], type_) for name, type_ in _TYPES.items()]
                kept = [c.slice(begin, len(outcomes)) for c in batch.columns[:keys]]
                yield pa.RecordBatch.from_arrays([*kept, *columns], names=[f"_{i}" for i in range(keys + len(columns))])
                begin, held, outcomes = row + 1, 0, []


def _outcome(at: Decoder, cell: pa.Scalar, into: str) -> dict[str, Any]:
    facts, file = at.made(cell.as_py(), into) if cell.is_valid else ({"reason": "there is no image: the cell is NULL"}, b"")
    well = "reason" not in facts
    facts = {"reason": facts.pop("note", None)} | facts
    return dict.fromkeys(_TYPES) | facts | {
        "status": "made" if well else "quarantined", "path": into if well and into else None, "image": file or None
    }  # fmt: skip


_decoders: dict[str, Decoder] = {}


def _decoder(opening: DecoderOptions) -> Decoder:
    """One a worker, over its tasks; its process ends with the worker's."""
    name = opening.model_dump_json()
    if name not in _decoders:
        for other in _decoders.values():
            other.close()
        _decoders.clear()
        _decoders[name] = Decoder(opening)
    return _decoders[name]


def image_file_name(key: Sequence[Any], output: Output) -> str:
    """A path that tells the key and cannot leave its folder: keys are data."""
    text = json.dumps([str(part) for part in key], ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9]+", "_", " ".join(map(str, key))).strip("_")[:60]
    return f"{digest[:2]}/{readable or 'key'}-{digest[:20]}.{output.ending}"


def _counts(table: "Table", period: str) -> "tuple[Counter[str | None], Counter[str]]":
    """How many images were made, by what is to be said of them (None: nothing), and how many not, by reason."""
    rows = table.read().where(col("period") == period).groupBy("status", "reason").count().collect()
    made = Counter({r.reason: r[2] for r in rows if r.status == "made"})
    return made, Counter({r.reason: r[2] for r in rows if r.status != "made"})


def _check_share(conf: Images, table: "Table", period: str, keys: int) -> None:
    """DataError where more images cannot be made than the conf allows."""
    _, refused = _counts(table, period)
    refuse_above_limit(refused.total(), keys, conf.max_quarantine, "images", f"images cannot be made{reasons_text(refused)}")


def _account(run: "Run", read: int, table: "Table", period: str) -> dict[str, int]:
    """The job's counts; on the page, too."""
    made, refused = _counts(table, period)
    counts = {"made": made.total(), "quarantined": refused.total()}
    for note in sorted(filter(None, made)):
        run.say(f"{made[note]:,} images were made with a note: {note}")
    run.facts |= {"images made": counts["made"], "images quarantined": counts["quarantined"], "table of images": table.name}
    run.sections.append(reconciliation_section({"read": read, **counts}, refused, title="Images"))
    return {"scored": counts["made"], "quarantined": counts["quarantined"]}
