"""What happens in a worker: raw rows in, one outcome a row out. Imports little, for every worker pays for it."""

import hashlib
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.names import FOLD
from keyfold.errors import DataError, PromiseError, RowsError
from keyfold.models.model import Model, Prediction
from keyfold.models.parity import Parity
from keyfold.secrets import redacted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NOT_FINITE = "the prediction is not a finite number"
loads: Counter[str] = Counter()  # of each model in this process, for the test that says once a worker


class Answering(Protocol):
    """What answers rows: a model of keyfold's, or a foreign one."""

    @property
    def columns(self) -> Sequence[str]:
        """The raw columns that it takes."""

    @property
    def digest(self) -> str:
        """Names the spec, or the foreign model."""

    @property
    def prediction_type(self) -> pa.DataType:
        """Of its predictions."""

    @property
    def scores_classes(self) -> bool:
        """Whether it gives probabilities."""

    @property
    def at_once(self) -> int:
        """How many rows it takes together."""

    @property
    def parity(self) -> Parity:
        """Whether its predictions have the bits that they had where it was trained; of no rows for a foreign model."""

    def refuse_other_columns(self, rows: "DataFrame") -> None:
        """DataError where a column is missing or of another type."""

    def predict(self, rows: pa.RecordBatch) -> Prediction:
        """The outcome of each raw row."""


def answer_batches(
    packed: bytes, digest: str, key: tuple[str, ...], names: list[str], incoming: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """In the worker: the outcome of each row of each batch, whose columns have `names`; the model is loaded once a worker."""
    model = _unpacked(digest, packed)
    for batch in _pieces(incoming, model.at_once, names):
        outcome = answer_rows(model, batch)
        columns = [*(batch.column(k) for k in key), outcome["status"], outcome["reason"], batch.column(FOLD)]
        out = pa.RecordBatch.from_arrays([*columns, outcome["prediction"], outcome["probability"]], names=[*key, *_OUTCOME])
        if out.num_rows != batch.num_rows:
            raise PromiseError(f"{batch.num_rows} rows went into the model and {out.num_rows} came out")
        yield out


def _pieces(incoming: Iterator[pa.RecordBatch], rows: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    for numbered in incoming:
        batch = numbered.rename_columns(names)
        yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


_OUTCOME = ("status", "reason", "fold", "prediction", "probability")


def answer_rows(model: Answering, rows: pa.RecordBatch) -> dict[str, pa.Array]:
    """status, reason, prediction, probability of each row; a row on which the model raises is quarantined, no other."""
    found, reasons = _bisected(model, rows)
    number = found.probability if model.scores_classes else found.prediction
    unsaid = pc.if_else(pc.is_null(number), pa.scalar(NOT_FINITE), pa.scalar(None, pa.string()))
    reason = pc.coalesce(reasons, unsaid)
    scored = pc.is_null(reason)
    return {
        "status": pc.if_else(scored, "scored", "quarantined"),
        "reason": reason,
        "prediction": pc.if_else(scored, found.prediction, None),
        "probability": pc.if_else(scored, found.probability, None),
    }


Outcome = tuple[Prediction, pa.Array]


def _bisected(model: Answering, rows: pa.RecordBatch) -> Outcome:
    try:
        return model.predict(rows), pa.nulls(rows.num_rows, pa.string())
    except RowsError as error:
        if rows.num_rows > 1 and len(error.rows) == rows.num_rows:
            return _apart(model, rows, error.rows)
        return _refused(model, error) if rows.num_rows == 1 else _halved(model, rows)
    except Exception as error:  # noqa: BLE001 - whatever a model raises is the row's reason
        return _refused(model, error) if rows.num_rows == 1 else _halved(model, rows)


def _refused(model: Answering, error: Exception) -> Outcome:
    said = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    nothing = Prediction(pa.nulls(1, model.prediction_type), pa.nulls(1, pa.float64()))
    return nothing, pa.array([redacted(said)[:500]], pa.string())


def _halved(model: Answering, rows: pa.RecordBatch) -> Outcome:
    half = rows.num_rows // 2
    return _joined([_bisected(model, part) for part in (rows.slice(0, half), rows.slice(half))])


def _apart(model: Answering, rows: pa.RecordBatch, guilty: npt.NDArray[np.bool_]) -> Outcome:
    """The others together, and each that is at fault by itself."""
    places = np.flatnonzero(guilty)
    others = rows.filter(pa.array(~guilty))
    parts = [_bisected(model, others)] if others.num_rows else []
    found, why = _joined([*parts, *(_bisected(model, rows.slice(place, 1)) for place in places.tolist())])
    back = pa.array(np.argsort(np.concatenate([np.flatnonzero(~guilty), places])))
    return Prediction(*(array.take(back) for array in found)), why.take(back)


def _joined(parts: list[Outcome]) -> Outcome:
    predictions = zip(*(found for found, _ in parts), strict=True)
    return Prediction(*map(pa.concat_arrays, predictions)), pa.concat_arrays([why for _, why in parts])


def pack_folder(folder: Path) -> bytes:
    """A model's folder as the bytes that travel to the workers."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def bytes_digest(packed: bytes) -> str:
    """Names the bytes of `packed`."""
    return hashlib.sha256(packed).hexdigest()


def load_answering(folder: Path) -> Answering:
    """The model of a folder: keyfold's own where it has a `model.json` (DataError, PromiseError as `Model.load`)."""
    if (folder / "model.json").is_file():
        return Model.load(folder)
    from keyfold.models.pyfunc import PyfuncModel

    return PyfuncModel(folder).ready()


_loaded: dict[str, Answering] = {}


def _unpacked(digest: str, packed: bytes) -> Answering:
    if digest not in _loaded:
        _loaded.clear()
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(io.BytesIO(packed)).extractall(folder)
            _loaded[digest] = load_answering(Path(folder))
        loads[digest] += 1
    return _loaded[digest]
