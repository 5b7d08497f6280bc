"""Keyed image jobs: each image of a table is converted, or quarantined with its reason, in one commit."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from keyfold.conf.images import Images
from keyfold.conf.table_names import MADE, key_name_fault
from keyfold.core.hashing import value_hash
from keyfold.dataset import labelled_rows
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.frame import Batches, Computed, Frame
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.imaging.decoder_process import Decoder, DecoderOptions, close_idle_decoders, decoder_of
from keyfold.imaging.operations import Output
from keyfold.imaging.pixels import image_path
from keyfold.ingestion.job import ingest
from keyfold.reporting.sections import reconciliation_section
from keyfold.runtime.periods import in_period, latest_period
from keyfold.scoring.key_check import check_keys
from keyfold.scoring.outcomes import reasons_text, refuse_above_limit

if TYPE_CHECKING:
    from keyfold.engine.table_versions import TableVersion
    from keyfold.engine.tables import Table
    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run

_TYPES = {
    "status": pa.string(), "reason": pa.string(), "width": pa.int32(), "height": pa.int32(), "bytes": pa.int64(),
    "sha256": pa.string(), "path": pa.string(), "image": pa.binary(),
}  # fmt: skip
BATCH_BYTES = 2**25  # of converted images that a task holds before it yields them
_CELL = "keyfold_cell"


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
        pinned, rows = labelled_rows.pinned_table(run)
        period = run.period or latest_period(conf.data, rows, run.rows.name)
        table = run.images
        job.inputs = {run.rows.name: pinned}
        _check_columns(conf.images, conf.data.key, rows)
        rows = in_period(conf.data, rows, period)
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


def _check_keys(run: "Run", job: "Job", rows: Frame, pinned: "TableVersion", period: str) -> int:
    """Number of keys of the manifest (DataError if it is empty, or if a row has no unique key)."""
    with run.step("check") as step:
        keys = check_keys(run, job, rows, pinned, period)
        step.rows = job.counts["read"] = keys.read
    if not keys.read:
        raise DataError(f"table `{run.rows.name}` has no row in period {period}")
    if keys.refused:
        raise DataError(f"{keys.refused:,} rows of the manifest have no unique key; they are in `{run.quarantine.name}`")
    return keys.keys


def _refuse_quarantined(run: "Run") -> None:
    ingested = run.jobs[-1]
    if ingested.counts.get("quarantined"):
        rows = run.quarantine.frame().where(col("run_id") == lit(ingested.run_id))
        examples = "; ".join(
            f"{r['reason']}: {r['raw']}"[:200] for r in rows.select(["reason", "raw"]).sort(["raw"]).head(3).rows()
        )
        raise DataError(
            f"{ingested.counts['quarantined']:,} rows of the manifest cannot be used: {examples} (all are in `{run.quarantine.name}`)"
        )


def _check_columns(conf: Images, key: list[str], rows: Frame) -> None:
    if conf.input_col not in rows.columns:
        raise DataError(f"images.input_col: the table has no column `{conf.input_col}`{suggestion(conf.input_col, rows.columns)}")
    if (type_ := rows.types[conf.input_col]) not in ("string", "binary"):
        raise DataError(f"images.input_col: `{conf.input_col}` is {type_}; it must be text (paths) or binary (files)")
    if same := [name for name in key if name.casefold() in MADE]:
        raise DataError(key_name_fault(same[0], "images"))


def _files_digest(rows: Frame, column: str) -> str:
    """Digest of the sizes and times of the manifest's files; empty for a column of bytes, whose table version is pinned."""
    if rows.types[column] == "binary":
        return ""
    halves = rows.select([column]).map_batches(_stamp_hashes, {"high": pa.int64(), "low": pa.int64()})
    sums = halves.group([], high=col("high").sum(), low=col("low").sum()).rows()[0]  # for any order of the rows
    return str(None if sums["low"] is None else (sums["high"] << 32) + sums["low"])


def _stamp_hashes(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Both halves of the hashes of the stamps, whose sums fit into 64 bits."""
    for batch in batches:
        stamps = [_file_stamp(path) for path in batch.column(0).drop_null().to_pylist()]
        hashes = value_hash(pa.array(stamps, pa.string()))
        yield pa.RecordBatch.from_arrays([pa.array(hashes >> 32), pa.array(hashes & np.int64(2**32 - 1))], ["high", "low"])


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


def _convert(run: "Run", job: "Job", conf: Images, rows: Frame, table: "Table", period: str, keys: int) -> int:
    key, options = run.conf.data.key, conf.decoder_options
    folder = f"{conf.folder}/{job.run_id}" if conf.folder else ""
    cells = rows.with_columns({_CELL: col(conf.input_col)}).select([*key, _CELL])
    pixels = Computed({"keyfold_pixels": pa.int64()}, partial(_pixels, options))
    metadata: dict[str, Any] = {"job": "images", "run_id": job.run_id, "counts": {"read": keys}}
    with run.step("make") as step:
        images = cells.balance(key, pixels, keys).map_batches(
            _Conversion(options, len(key), folder, conf.output), cells.arrow_types(key) | _TYPES
        )
        images = images.with_columns({"period": lit(period), "run_id": lit(job.run_id), "made_at": lit(datetime.now(UTC))})
        try:
            table.replace(
                images.select([*key, *MADE]), "period", {period: keys},
                check=lambda: _check_share(conf, table, period, keys), recorded=True, **metadata,
            )  # fmt: skip
        finally:
            close_idle_decoders()
        step.rows = keys
    run.jobs[-1].facts["images a second"] = round(keys / step.seconds, 1)
    return keys


def _pixels(options: DecoderOptions, batch: pa.RecordBatch) -> list[pa.Array]:
    """The pixels of each image by its header; 0 if it has none."""
    with decoder_of(options) as decoder:
        pixels = [decoder.size(cell.as_py()).facts.get("pixels", 0) if cell.is_valid else 0 for cell in batch[_CELL]]
    return [pa.array(pixels, pa.int64())]


@dataclass(frozen=True)
class _Conversion:
    """Converts the images of batches, whose columns are `keys` of the key and the cell."""

    options: DecoderOptions
    keys: int
    folder: str
    output: Output

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        """One outcome per row, in batches of at most about BATCH_BYTES of converted images."""
        with decoder_of(self.options) as decoder:
            for batch in batches:
                begin, size, outcomes = 0, 0, []
                for row in range(batch.num_rows):
                    outcomes.append(self._outcome(decoder, batch, row))
                    size += len(outcomes[-1]["image"] or b"")
                    if size > BATCH_BYTES or row + 1 == batch.num_rows:
                        yield self._output_rows(batch.slice(begin, len(outcomes)), outcomes)
                        begin, size, outcomes = row + 1, 0, []

    def _outcome(self, decoder: Decoder, batch: pa.RecordBatch, row: int) -> dict[str, Any]:
        key, cell = [column[row].as_py() for column in batch.columns[: self.keys]], batch[_CELL][row]
        into = f"{self.folder}/{image_file_name(key, self.output)}" if self.folder else ""
        return _outcome(decoder, cell, into)

    def _output_rows(self, batch: pa.RecordBatch, outcomes: Sequence[dict[str, Any]]) -> pa.RecordBatch:
        columns = [pa.array([outcome[name] for outcome in outcomes], type_) for name, type_ in _TYPES.items()]
        names = [*batch.schema.names[: self.keys], *_TYPES]
        return pa.RecordBatch.from_arrays([*batch.columns[: self.keys], *columns], names)


def _outcome(decoder: Decoder, cell: pa.Scalar, into: str) -> dict[str, Any]:
    facts, file = decoder.made(cell.as_py(), into) if cell.is_valid else ({"reason": "there is no image: the cell is NULL"}, b"")
    succeeded = "reason" not in facts
    facts = {"reason": facts.pop("note", None)} | facts
    return dict.fromkeys(_TYPES) | facts | {
        "status": "made" if succeeded else "quarantined", "path": into if succeeded and into else None, "image": file or None
    }  # fmt: skip


def image_file_name(key: Sequence[Any], output: Output) -> str:
    """A relative path that shows the key and cannot leave its folder, whatever the key holds."""
    text = json.dumps([str(part) for part in key], ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9]+", "_", " ".join(map(str, key))).strip("_")[:60]
    return f"{digest[:2]}/{readable or 'key'}-{digest[:20]}.{output.ending}"


def _counts(table: "Table", period: str) -> "tuple[Counter[str | None], Counter[str]]":
    """Numbers of converted images by note (None: no note), and of the others by reason."""
    rows = table.frame().where(col("period") == lit(period)).group(["status", "reason"], n=count_rows()).rows()
    converted = Counter({r["reason"]: r["n"] for r in rows if r["status"] == "made"})
    return converted, Counter({r["reason"]: r["n"] for r in rows if r["status"] != "made"})


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
