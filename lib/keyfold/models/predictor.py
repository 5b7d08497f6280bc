"""Applies a model to raw rows in a worker: one outcome per row. Imports little, since every worker imports it."""

import hashlib
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.names import FOLD
from keyfold.errors import DataError, PromiseError, RowsError
from keyfold.labels import Answer
from keyfold.models.model import Model
from keyfold.models.pyfunc import PyfuncModel
from keyfold.secrets import redacted

NOT_FINITE = "the prediction is not a finite number"
loads: Counter[str] = Counter()  # by model: how often this process loaded it
Predictor = Model | PyfuncModel


def predict_batches(
    packed: bytes, digest: str, key: tuple[str, ...], reasons: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The outcomes of batches in a worker, with that many reasons; a worker loads the model once."""
    model = _unpacked(digest, packed).with_reasons(reasons)
    for batch in _slices(batches, model.rows_at_once):
        outcome = predict_rows(model, batch)
        columns = {name: batch.column(name) for name in key} | {name: outcome.pop(name) for name in ("status", "reason")}
        out = pa.RecordBatch.from_pydict(columns | {"fold": batch.column(FOLD)} | outcome)
        if out.num_rows != batch.num_rows:
            raise PromiseError(f"the model took {batch.num_rows} rows and returned {out.num_rows}")
        yield out


def _slices(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def predict_rows(model: Predictor, rows: pa.RecordBatch) -> dict[str, pa.Array]:
    """Arrays of status, reason and the columns of the answer. Only the rows on which the model raises are quarantined."""
    answer, reasons = _bisected(model, rows)
    not_finite = pc.if_else(pc.is_null(answer["prediction"]), pa.scalar(NOT_FINITE), pa.scalar(None, pa.string()))
    reason = pc.coalesce(reasons, not_finite)
    scored = pc.is_null(reason)
    if reason.null_count < len(reason):
        places = pa.array(np.arange(len(reason)), mask=~scored.to_numpy(zero_copy_only=False))
        answer = {name: array.take(places) for name, array in answer.items()}
    return {"status": pc.if_else(scored, "scored", "quarantined"), "reason": reason, **answer}


Outcome = tuple[Answer, pa.Array]  # and the reason of each row without a prediction


def _bisected(model: Predictor, rows: pa.RecordBatch) -> Outcome:
    """Predicts rows; halves them as long as the model raises, down to the single rows at fault."""
    try:
        return model.predict(rows), pa.nulls(rows.num_rows, pa.string())
    except RowsError as error:
        if rows.num_rows > 1 and len(error.rows) == rows.num_rows:
            return _separated(model, rows, error.rows)
        return _refused(model, error) if rows.num_rows == 1 else _halved(model, rows)
    except Exception as error:  # noqa: BLE001 - any error of a model is the row's reason
        return _refused(model, error) if rows.num_rows == 1 else _halved(model, rows)


def _refused(model: Predictor, error: Exception) -> Outcome:
    if isinstance(error, MemoryError):  # other rows at the same time, not this one
        raise error
    reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return {name: pa.nulls(1, type_) for name, type_ in model.answer_types.items()}, pa.array(
        [redacted(reason)[:500]], pa.string()
    )


def _halved(model: Predictor, rows: pa.RecordBatch) -> Outcome:
    half = rows.num_rows // 2
    return _joined([_bisected(model, part) for part in (rows.slice(0, half), rows.slice(half))])


def _separated(model: Predictor, rows: pa.RecordBatch, at_fault: npt.NDArray[np.bool_]) -> Outcome:
    """Predicts the rows at fault one by one, and the others together."""
    places = np.flatnonzero(at_fault)
    others = rows.filter(pa.array(~at_fault))
    parts = [_bisected(model, others)] if others.num_rows else []
    answer, reasons = _joined([*parts, *(_bisected(model, rows.slice(place, 1)) for place in places.tolist())])
    order = pa.array(np.argsort(np.concatenate([np.flatnonzero(~at_fault), places])))
    return {name: array.take(order) for name, array in answer.items()}, reasons.take(order)


def _joined(parts: list[Outcome]) -> Outcome:
    answers = {name: pa.concat_arrays([answer[name] for answer, _ in parts]) for name in parts[0][0]}
    return answers, pa.concat_arrays([reasons for _, reasons in parts])


def pack_folder(folder: Path) -> bytes:
    """The folder of a model as a zip archive, which is sent to the workers."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def bytes_digest(packed: bytes) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(packed).hexdigest()


def load_predictor(folder: Path) -> Predictor:
    """The model of a folder: one of keyfold if it has a `model.json`. Raises DataError or PromiseError, as `Model.load` does."""
    return Model.load(folder) if (folder / "model.json").is_file() else PyfuncModel(folder).loaded()


_loaded: dict[str, Predictor] = {}
_loading = Lock()


def _unpacked(digest: str, packed: bytes) -> Predictor:
    with _loading:
        if digest not in _loaded:
            _loaded.clear()
            with tempfile.TemporaryDirectory() as folder:
                zipfile.ZipFile(io.BytesIO(packed)).extractall(folder)
                _loaded[digest] = load_predictor(Path(folder))
            loads[digest] += 1
        return _loaded[digest]
