"""The as-of join: each row gets the values that held and were known at its time, never later ones.

A joined row holds from its time on, and counts from the time at which it was known. Of the rows of an entity for which both times are
not after that of a row, the one with the latest time answers; of those, the one that was known last; of those, the one with the
greatest values, compared column by column: NULL is less than any value, -0.0 less than 0.0, and NaN greater than any number. The
values are NULL if that row is older than its time to live. A row without its time or entity answers nothing and gets no answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Int64s
from keyfold.engine.sorted_batches import joined, same_as_before
from keyfold.errors import PromiseError

INSTANT = pa.timestamp("us", "UTC")
AT, FROM, UNTIL = "keyfold_at", "keyfold_from", "keyfold_until"  # times of rows, and from and until when a joined row answers
_LARGEST = np.iinfo(np.int64).max


def from_the_future(name: str) -> str:
    """The message of an answer from the future."""
    return f"keyfold: view `{name}`: a row from the future was joined. Please report this"


def order_keys(values: pa.Array) -> Int64s:
    """Whole numbers in the order of values: NULL, then all others; -0.0 is before 0.0, and NaN last."""
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    if pa.types.is_floating(values.type):
        bits = (values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)).view(np.int64)
        bits = np.where(np.isnan(bits.view(np.float64)), _LARGEST, np.where(bits < 0, bits ^ _LARGEST, bits))
        return np.where(_missing(values), -_LARGEST - 1, bits)
    cells = [_order_of(cell) for cell in values.to_pylist()]
    place = {cell: number for number, cell in enumerate(sorted(set(cells)))}
    return np.array([place[cell] for cell in cells], np.int64)


def _order_of(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    if isinstance(value, float):
        return 1, value != value, 0.0 if value != value else value  # noqa: PLR0124  (NaN)
    if isinstance(value, Mapping):
        value = [*value.values()]
    return (1, tuple(map(_order_of, value))) if isinstance(value, list) else (1, value)


def _missing(values: pa.Array) -> Bools:
    return values.is_null().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _micros(times: pa.Array) -> Int64s:
    return times.cast(pa.int64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Answering:
    """Of rows in the order of their entity and of FROM, those that answer from FROM on, with UNTIL if there is a time to live."""

    entity: Sequence[str]
    times: Sequence[str]  # of time and knowledge; FROM is the later one of both
    values: Sequence[str]
    ttl: int | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The answering rows of batches, in their order."""
        held: list[pa.RecordBatch] = []
        for batch in batches:
            if batch.num_rows:
                rows = joined([*held, batch])
                places = self._answers(rows)
                yield self._output(rows.take(pa.array(places[:-1])))
                held = [rows.slice(places[-1], 1)]
        yield from map(self._output, held)

    def _output(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        found = rows.select([*self.entity, FROM, *self.values])
        if self.ttl is None:
            return found
        time = _micros(rows.column(self.times[0]))
        until = np.minimum(time, _LARGEST - self.ttl) + self.ttl
        return found.append_column(UNTIL, pa.array(until).cast(INSTANT))

    def _answers(self, rows: pa.RecordBatch) -> Int64s:
        """The places of the rows that answer, one for each entity and FROM at which another row begins to answer."""
        same = same_as_before(map(rows.column, self.entity), rows.num_rows)
        group = np.concatenate([[0], np.cumsum(~same)])
        time, known, begin = (_micros(rows.column(name)) for name in (self.times[0], self.times[-1], FROM))
        places = _not_less_than_before(group, time, known)
        group, time, known, begin = group[places], time[places], known[places], begin[places]
        ends = np.flatnonzero(np.append((np.diff(group) != 0) | (np.diff(begin) != 0), True))
        tied = (np.diff(group) == 0) & (np.diff(time) == 0) & (np.diff(known) == 0)
        best = self._greatest(rows, places, tied) if tied.any() else places
        return best[ends]

    def _greatest(self, rows: pa.RecordBatch, places: Int64s, tied: Bools) -> Int64s:
        """The places, where for each last row of a tie there is the place of the row with the greatest values."""
        ties = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
        tie = np.concatenate([[0], np.cumsum(~tied)])[ties]
        keys = [order_keys(rows.column(name).take(pa.array(places[ties]))) for name in reversed(self.values)]
        order = np.lexsort([*keys, tie])
        last = np.flatnonzero(np.append(np.diff(tie) != 0, True))  # rows of a tie are together, in either order
        best = places.copy()
        best[ties[last]] = places[ties[order[last]]]
        return best


def _not_less_than_before(group: Int64s, time: Int64s, known: Int64s) -> Int64s:
    """The places of the rows whose time and knowledge are not less than those of any row before in their group."""
    later, same = np.diff(time), np.diff(group) == 0
    if not (same & ((later < 0) | ((later == 0) & (np.diff(known) < 0)))).any():
        return np.arange(len(group))
    order = np.lexsort((known, time))
    rank = np.zeros(len(group), np.int64)
    rank[order[1:]] = np.cumsum((np.diff(time[order]) != 0) | (np.diff(known[order]) != 0))
    rank += group * len(group)
    return np.flatnonzero(rank >= np.maximum.accumulate(rank))


@dataclass(frozen=True)
class Answers:
    """The values of joined rows: NULL after UNTIL. PromiseError for a row from the future."""

    name: str
    values: Sequence[str]

    def __call__(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The values of a batch."""
        at = batch.column(AT)
        if pc.any(pc.greater(batch.column(FROM), at), min_count=0).as_py():
            raise PromiseError(from_the_future(self.name))
        values = [batch.column(name) for name in self.values]
        if UNTIL not in batch.schema.names:
            return values
        holds = pc.less_equal(at, batch.column(UNTIL)).fill_null(False)
        return [pc.if_else(holds, value, pa.scalar(None, value.type)) for value in values]
