"""Keys of tables without one: a digest of each row's raw text, whatever the order of its columns, and a number among equal rows."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.json_texts import quoted
from keyfold.core.names import CONTENT, PERIOD, RAW, REASON
from keyfold.engine.frame import Batches, Computed, Frame
from keyfold.errors import PromiseError

_DIGEST, _DIGITS = "keyfold_content", 32
_CELL = re.compile(r'"((?:[^"\\]|\\.)*)":("(?:[^"\\]|\\.)*"|[^"{}\[\],]+)[,}]')
_VALUE = json.JSONDecoder()


def add_content_key(rows: Frame) -> Frame:
    """Adds `<digest>-<number among equal rows of the period>`, as the first column."""
    numbered = _NumberCopies(rows.columns)
    types = {CONTENT: pa.string(), **rows.arrow_types(rows.columns)}
    return rows.compute(Computed({_DIGEST: pa.string()}, _digests)).map_sorted([PERIOD, _DIGEST], [], numbered, types)


def _digests(batch: pa.RecordBatch) -> list[pa.Array]:
    kept = batch[REASON].is_null().to_pylist()
    texts = (content_text(raw) if keep else raw for raw, keep in zip(batch[RAW].to_pylist(), kept, strict=True))
    return [pa.array([text and hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] for text in texts], pa.string())]


def content_text(raw: str) -> str:
    """A row's JSON with its cells as text, in the order of their names."""
    cells = _CELL.findall(raw)
    if sum(len(name) + len(cell) + 4 for name, cell in cells) + 1 != len(raw):
        cells = [*_cells(raw)]
    names = tuple(name for name, _ in cells)
    texts = (f'"{name}":{_as_text(cell)}' for name, cell in cells)
    return "{" + ",".join(map([*texts].__getitem__, _order(names))) + "}"


def _as_text(cell: str) -> str:
    return cell if cell == "null" or cell.startswith('"') else quoted(cell)


def _cells(raw: str) -> Iterator[tuple[str, str]]:
    """The names and cells of a JSON object with nested values, without blanks between them."""
    at = 1
    while raw[at] != "}":
        start = at + (raw[at] == ",") + 1
        _, colon = _VALUE.raw_decode(raw, start - 1)
        _, at = _VALUE.raw_decode(raw, colon + 1)
        yield raw[start : colon - 1], raw[colon + 1 : at]


@lru_cache(64)
def _order(names: tuple[str, ...]) -> list[int]:
    return sorted(range(len(names)), key=lambda i: json.loads(f'"{names[i]}"'))


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
