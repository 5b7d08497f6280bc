"""Keys of tables without one: a digest of each row's raw text, whatever the order of its columns, and a number among equal rows."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.json_texts import quoted, text_jsons
from keyfold.core.names import CONTENT, PERIOD, RAW, REASON
from keyfold.engine.frame import Batches, Computed, Frame
from keyfold.errors import PromiseError
from keyfold.readers.members import are_objects, find_members

_DIGEST, _DIGITS = "keyfold_content", 32
_VALUE = json.JSONDecoder()


def add_content_key(rows: Frame) -> Frame:
    """Adds `<digest>-<number among equal rows of the period>`, as the first column."""
    numbered = _NumberCopies(rows.columns)
    types = {CONTENT: pa.string(), **rows.arrow_types(rows.columns)}
    return rows.compute(Computed({_DIGEST: pa.string()}, _digests)).map_sorted([PERIOD, _DIGEST], [], numbered, types)


def _digests(batch: pa.RecordBatch) -> list[pa.Array]:
    raws, kept = batch[RAW], batch[REASON].is_null()
    texts = pc.replace_with_mask(raws, kept, content_texts(raws.filter(kept))).cast(pa.binary()).to_pylist()
    return [pa.array([text and hashlib.sha256(text).hexdigest()[:_DIGITS] for text in texts], pa.string())]


def content_texts(raws: pa.Array) -> pa.Array:
    """Each row's JSON with its cells as text, in the order of their names."""
    return pa.array(map(_content_text, raws.to_pylist()), pa.string()) if (texts := _of_equal_rows(raws)) is None else texts


def _of_equal_rows(raws: pa.Array) -> pa.Array | None:
    """`content_texts` of rows that have the same columns; None if they have not, or have one that is nested deep."""
    objects = raws.cast(pa.large_binary())
    if not are_objects(objects).all():
        return None
    members = find_members(objects)
    width = len(members.names)
    places = members.records * width + members.keys
    order = np.argsort(places)
    if not np.array_equal(places[order], np.arange(len(raws) * width)):
        return None
    values = pc.if_else(pa.array(members.kinds == ord("n")), pa.scalar(None, pa.string()), members.values)
    names = sorted(range(width), key=members.names.__getitem__)
    columns = [values.take(pa.array(order[i::width])) for i in names]
    return text_jsons([members.names[i] for i in names], columns) if columns else None


def _content_text(raw: str) -> str:
    cells = (f"{quoted(name)}:{'null' if text is None else quoted(text)}" for name, text in sorted(_cells(raw)))
    return "{" + ",".join(cells) + "}"


def _cells(raw: str) -> Iterator[tuple[str, str | None]]:
    """The names and cells of a JSON object without blanks between them."""
    at = 1
    while raw[at] != "}":
        name, colon = _VALUE.raw_decode(raw, at + (raw[at] == ","))
        value, end = _VALUE.raw_decode(raw, colon + 1)
        yield name, value if value is None or isinstance(value, str) else raw[colon + 1 : end]
        at = end


@dataclass(frozen=True)
class _NumberCopies:
    """Numbers the rows of one digest and period, which come together."""

    columns: Sequence[str]

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        last, copies = "", 0
        for batch in (batch for batch in batches if batch.num_rows):
            keys = pc.binary_join_element_wise(batch[PERIOD].fill_null(""), batch[_DIGEST], "\0")
            before = pa.concat_arrays([pa.array([last]), keys[:-1]])
            if pc.any(pc.less(keys, before)).as_py():
                raise PromiseError("rows are not in the order of their digests; please report this")
            at, is_first = np.arange(len(keys)), np.asarray(pc.not_equal(keys, before))
            first = np.maximum.accumulate(np.where(is_first, at, -copies))
            numbers = at - first + 1
            last, copies = keys[-1].as_py(), int(numbers[-1])
            key = pc.binary_join_element_wise(batch[_DIGEST], pa.array(numbers).cast(pa.string()), "-")
            yield pa.RecordBatch.from_arrays([key, *(batch[name] for name in self.columns)], [CONTENT, *self.columns])
