"""Sorted batches: proves their order, finds where groups of rows begin, and cuts a stream into runs of whole groups.

NULL comes before all values, NaN is equal to itself and comes after all numbers, and zeros of both signs are equal, as in `Frame.sort`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools
from keyfold.engine.frame import Batches, BatchFunction
from keyfold.errors import PromiseError

_RUN = 131_072  # rows; a kernel takes some milliseconds a batch, however many rows it has
_RUN_BYTES = 64 << 20


@dataclass(frozen=True)
class InOrder:
    """A function of batches that are sorted by columns (PromiseError if they are not)."""

    function: BatchFunction
    columns: Sequence[str]

    def __call__(self, batches: Batches) -> Iterable[pa.RecordBatch]:
        """What the function makes of batches."""
        return self.function(self._proven(batches))

    def _proven(self, batches: Batches) -> Batches:
        last: pa.RecordBatch | None = None
        for batch in batches:
            if batch.num_rows:
                for rows in [batch] if last is None else [joined([last, batch.slice(0, 1)]), batch]:
                    self._refuse_disorder(rows)
                last = batch.slice(batch.num_rows - 1)
            yield batch

    def _refuse_disorder(self, batch: pa.RecordBatch) -> None:
        undecided: Bools = np.ones(batch.num_rows - 1, bool)
        for name in self.columns:
            earlier, same = _compared(batch.column(name))
            if (undecided & ~earlier & ~same).any():
                raise PromiseError(f"rows must be in the order of {', '.join(self.columns)}, and are not. Please report this")
            undecided &= same


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches with the same columns as one."""
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]


def same_as_before(columns: Iterable[pa.Array], rows: int) -> Bools:
    """For each row after the first, whether all columns have the value of the row before."""
    same: Bools = np.ones(max(rows - 1, 0), bool)
    for column in columns:
        same &= _equal(column[:-1], column[1:])
    return same


def _compared(column: pa.Array) -> tuple[Bools, Bools]:
    """For each row after the first, whether the row before has a smaller value, and whether it has the same one."""
    a, b = column[:-1], column[1:]
    if pa.types.is_nested(column.type):  # which Arrow does not compare
        return np.ones(len(a), bool), np.zeros(len(a), bool)
    earlier = _bools(pc.less(a, b))
    if pa.types.is_floating(column.type):
        earlier |= _bools(pc.and_(pc.invert(pc.is_nan(a)), pc.is_nan(b)))
    if column.null_count:
        earlier |= _bools(pc.and_(a.is_null(), b.is_valid()))
    return earlier, _equal(a, b)


def _equal(a: pa.Array, b: pa.Array) -> Bools:
    same = _bools(pc.equal(a, b))
    if pa.types.is_floating(a.type):
        same |= _bools(pc.and_(pc.is_nan(a), pc.is_nan(b)))
    if a.null_count or b.null_count:
        same |= _bools(pc.and_(a.is_null(), b.is_null()))
    return same


def _bools(array: pa.Array) -> Bools:
    return array.fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def last_rows(by: Sequence[str], keep: Sequence[str], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The columns `keep` of the last row of each group, of batches in which groups are together."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        rows = joined([*held, batch])
        ends = np.flatnonzero(~same_as_before(map(rows.column, by), rows.num_rows))
        yield rows.select(keep).take(pa.array(ends))
        held = [rows.slice(rows.num_rows - 1)] if rows.num_rows else []
    yield from (rows.select(keep) for rows in held)


# --- runs ---


class Run:
    """Batches of whole groups: one in memory and, if its only group goes on, those that follow as they are read."""

    def __init__(self, first: pa.RecordBatch, by: Sequence[str], following: Batches | None = None) -> None:
        self._first, self._by, self._following = first, by, following
        self._rest: list[pa.RecordBatch] = []
        self._closed = Event()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield self._first
        last = self._first.slice(self._first.num_rows - 1)
        for batch in self._following or ():
            rows = joined([last, batch])
            begins = np.flatnonzero(~same_as_before(map(rows.column, self._by), rows.num_rows))
            end = int(begins[0]) if len(begins) else batch.num_rows
            yield batch.slice(0, end)
            if end < batch.num_rows:
                self._rest = [batch.slice(end)]
                return

    def close(self) -> None:
        """Tells that nobody reads the run any more."""
        self._closed.set()

    def rest(self) -> list[pa.RecordBatch]:
        """The rows after the run that were read with it, once it is closed."""
        self._closed.wait()
        return self._rest


def map_runs(function: BatchFunction, runs: Iterable[Run]) -> Iterator[pa.RecordBatch]:
    """What a function makes of the batches of each run."""
    for run in runs:
        try:
            yield from function(iter(run))
        finally:
            run.close()


def whole_groups(batches: Batches, by: Sequence[str]) -> Iterator[Run]:
    """Cuts batches in which groups are together into runs; after a group that a run does not hold in memory, waits until it is closed."""
    parts: list[pa.RecordBatch] = []
    for batch in filter(len, batches):
        parts.append(batch)
        if sum(part.num_rows for part in parts) < _RUN and sum(part.nbytes for part in parts) < _RUN_BYTES:
            continue
        whole = joined(parts)
        begins = np.flatnonzero(~same_as_before(map(whole.column, by), whole.num_rows))
        if len(begins):
            end = int(begins[-1]) + 1
            yield Run(whole.slice(0, end), by)
            parts = [whole.slice(end)]
        else:
            yield (run := Run(whole, by, batches))
            parts = run.rest()
    if parts:
        yield Run(joined(parts), by)
