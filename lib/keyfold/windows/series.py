"""Windows over Arrow batches that are sorted by series and time.

A row that carries the state of a series (see `feature_store.table`) comes before the series' rows. The rows that later windows need are
carried from batch to batch, so memory grows with a batch and the reach of the windows, not with a series.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.digests import digest
from keyfold.core.names import STATE
from keyfold.core.types import DAYS, NUMBERS, arrow_cast, arrow_family, require_family, spark_text
from keyfold.engine.sorted_batches import same_as_before
from keyfold.errors import DataError, suggestion
from keyfold.windows.frame_statistics import DAY, SeriesRows, whole_range
from keyfold.windows.kernel import ComputedWindows, Window, summed_width

STATE_TYPE = pa.struct({"sums": pa.list_(pa.float64()), "at": pa.list_(pa.int64()), "x": pa.list_(pa.float64())})
WINDOWS_VERSION = 2  # to be increased when a window's bits change


class SeriesDefinition(NamedTuple):
    """All windows of a conf: `by` names a series (empty: the table is one), `time` and `ties` order it. `inputs`: columns, each with the value whose share is taken, or None."""

    by: list[str]
    time: str
    ties: list[str]
    inputs: list[tuple[str | Derived, Any]]
    windows: list[Window]

    @property
    def digest(self) -> str:
        """Identifies the bits of the columns."""
        inputs = [(c if isinstance(c, str) else c.model_dump(mode="json"), value) for c, value in self.inputs]
        return digest([WINDOWS_VERSION, self.by, self.time, self.ties, inputs, [list(map(str, w)) for w in self.windows]])


class SeriesPast(NamedTuple):
    """The rows of series that later windows need.

    `series`: ascending numbers; `counts`: rows of each; `at` (rows) and `x` (rows x inputs): these rows, one series after another;
    `sums` (series x sums): the sums before them.
    """

    series: Int64s
    counts: Int64s
    at: Int64s
    x: Doubles
    sums: Doubles

    def split(self) -> "tuple[SeriesPast, SeriesPast]":
        """All series but the last, and the last one as number 0."""
        cut = len(self.at) - int(self.counts[-1])
        first = SeriesPast(self.series[:-1], self.counts[:-1], self.at[:cut], self.x[:cut], self.sums[:-1])
        return first, SeriesPast(np.zeros(1, np.int64), self.counts[-1:], self.at[cut:], self.x[cut:], self.sums[-1:])

    def followed_by(self, other: "SeriesPast") -> "SeriesPast":
        """Appends series of higher numbers."""
        return SeriesPast(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


def window_batches(definition: SeriesDefinition, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Adds to ordered batches their windows and, on the last row of each series, its state.

    A last column STATE, if there is one, holds the states of series so far. DataError if two rows of a series have the same time and ties.
    """
    past: SeriesPast | None = None
    filled = (SeriesBatch(definition, batch) for batch in batches if batch.num_rows)
    for batch, following in pairwise(chain(filled, [None])):
        assert batch is not None
        goes_on = following is not None and batch.continues_in(following)
        yield from batch.windows(past, goes_on=goes_on)
        past = batch.left


class SeriesBatch:
    """A sorted batch. `data`: which rows are not states; `series`: the number of each row's series."""

    left: SeriesPast | None = None  # of the last series, if it continues in the next batch

    def __init__(self, definition: SeriesDefinition, batch: pa.RecordBatch) -> None:
        self.definition, self.batch = definition, batch
        self.column = dict(zip(batch.schema.names, batch.columns, strict=True))
        self.names = [name for name in self.column if name != STATE]
        state = self.column.get(STATE)
        self.data: Bools = np.ones(batch.num_rows, bool) if state is None else _bools(state.is_null())
        changed = ~same_as_before([self.column[c] for c in definition.by], batch.num_rows)
        self.series: Int64s = np.concatenate([[0], np.cumsum(changed)])
        self._refuse_ties(self.batch, ~changed & self.data[1:] & self.data[:-1])

    def continues_in(self, following: "SeriesBatch") -> bool:
        """Whether the series of the last row continues in the next batch."""
        both = pa.Table.from_batches([self.batch.slice(len(self.data) - 1), following.batch.slice(0, 1)])
        seam = both.combine_chunks().to_batches()[0]
        goes_on = bool(same_as_before([seam.column(self.names.index(c)) for c in self.definition.by], 2)[0])
        self._refuse_ties(seam, np.array([goes_on and self.data[-1] and following.data[0]]))
        return goes_on

    def windows(self, past: SeriesPast | None, *, goes_on: bool) -> Iterator[pa.RecordBatch]:
        """The data rows with their windows, if there are any. `past`: of the first series, if it began in an earlier batch."""
        definition, before = self.definition, self._past()
        before = past.followed_by(before) if past is not None else before
        rows, last = self._laid_out(before)
        computed = ComputedWindows(definition.windows, rows)
        columns = [_or_null(computed.column(w)) for w in definition.windows]
        present = np.flatnonzero(last >= 0)  # series with rows in this batch
        keep, sums = computed.past(last[present])
        counts = last[present] + 1 - keep
        kept = _ranges(keep, counts)
        x = np.stack([rows.values[f"x{i}"][kept] for i in range(len(definition.inputs))], axis=1)
        rest = SeriesPast(present, counts, rows.at[kept], x, sums)
        if goes_on and last[-1] >= 0:
            rest, self.left = rest.split()
        elif goes_on:
            self.left = before.split()[1]
        if len(present):
            own = self.batch.columns[: len(self.names)]
            own = own if self.data.all() else [c.filter(pa.array(self.data)) for c in own]
            names = [*self.names, *(w.name for w in definition.windows), STATE]
            yield pa.RecordBatch.from_arrays([*own, *columns, self._states(rest)], names)

    def _states(self, rest: SeriesPast) -> pa.Array:
        """The states of series that end in this batch, on their last rows; NULL elsewhere."""
        series, (n, m) = self._own(self.series), rest.sums.shape
        last = np.flatnonzero(np.append(series[1:] > series[:-1], True))[:n]
        none = np.ones(len(series), bool)
        none[last] = False
        lists = []
        for lengths, values in ((m, rest.sums), (rest.counts, rest.at), (rest.counts * rest.x.shape[1], rest.x)):
            offsets = np.zeros(n + 1, np.int32)
            offsets[1:] = np.cumsum(np.broadcast_to(lengths, n))
            offsets = np.repeat(offsets, np.diff([0, *(last + 1), len(series) + 1]))
            lists.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1))))
        return pa.StructArray.from_arrays(lists, fields=list(STATE_TYPE), mask=pa.array(none))

    def _past(self) -> SeriesPast:
        """The past in the rows that are states."""
        series = self.series[~self.data]
        if not len(series):
            none, width = np.zeros(0, np.int64), summed_width(self.definition.windows)
            return SeriesPast(none, none, none, np.zeros((0, len(self.definition.inputs))), np.zeros((0, width)))
        states = self.column[STATE].filter(pa.array(~self.data))
        sums, at, x = (states.field(name).flatten().to_numpy(zero_copy_only=False) for name in ("sums", "at", "x"))
        counts = pc.list_value_length(states.field("at")).to_numpy(zero_copy_only=False).astype(np.int64)
        return SeriesPast(series, counts, at, x.reshape(len(at), len(self.definition.inputs)), sums.reshape(len(series), -1))

    def _laid_out(self, past: SeriesPast) -> tuple[SeriesRows, Int64s]:
        """The rows, each series behind its past; and the place of each series' last row, or -1 if it has none in this batch."""
        series, definition = self._own(self.series), self.definition
        many = int(self.series[-1]) + 1
        before = np.zeros(many, np.int64)
        before[past.series] = past.counts
        own = np.bincount(series, minlength=many)
        starts = np.concatenate([[0], np.cumsum(before + own)])
        place = np.arange(len(series)) + np.cumsum(before)[series]
        at, is_own = np.zeros(starts[-1], np.int64), np.zeros(starts[-1], bool)
        put = whole_range(place) or place
        is_own[put] = True
        at[put] = as_micros(self._column(definition.time), definition.time)
        values = {f"x{i}": np.full(starts[-1], np.nan) for i in range(len(definition.inputs))}
        for x, (name, value) in zip(values.values(), definition.inputs, strict=True):
            x[put] = as_doubles(self._input(name), str(name), value)
        carried = _ranges(starts[past.series], past.counts)
        at[carried] = past.at
        for i, x in enumerate(values.values()):
            x[carried] = past.x[:, i]
        sums = dict(zip(starts[past.series].tolist(), past.sums.tolist(), strict=True))
        last = np.where(own > 0, starts[1:] - 1, -1)
        return SeriesRows(np.repeat(starts[:-1], before + own), at, values, is_own, sums), last

    def _column(self, name: str) -> pa.Array:
        column = self.column[name]
        return column if self.data.all() else column.filter(pa.array(self.data))

    def _input(self, name: str | Derived) -> pa.Array:
        return self._column(name) if isinstance(name, str) else name.of({c: self._column(c) for c in name.columns}, "windows")

    def _own(self, x: Int64s) -> Int64s:
        return x if self.data.all() else x[self.data]

    def _refuse_ties(self, batch: pa.RecordBatch, alike: Bools) -> None:
        """DataError if two rows of a series tie. `alike`: for each row after the first, whether it is of the same series as the row before."""
        definition = self.definition
        column = dict(zip(self.names, batch.columns, strict=False))
        tied = alike & same_as_before([column[c] for c in (definition.time, *definition.ties)], batch.num_rows)
        if tied.any():
            row = int(np.flatnonzero(tied)[0]) + 1
            raise DataError(
                f"windows: two rows of {', '.join(f'{c} {column[c][row]}' for c in definition.by) or 'the table'} have the same "
                f"{', '.join([definition.time, *definition.ties])} ({column[definition.time][row]}), so their order is undefined; "
                "name a column that orders them in order_by, or drop one"
            )


def _ranges(begin: Int64s, counts: Int64s) -> Int64s:
    """Ranges of `counts` places from each beginning on, concatenated."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - ends + counts, counts)  # type: ignore[no-any-return]


def _or_null(x: Doubles) -> pa.Array:
    """NULL where NaN; without a copy."""
    valid = ~np.isnan(x)
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(x), [bits, pa.py_buffer(np.ascontiguousarray(x))])


def _bools(array: pa.Array) -> Bools:
    return array.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def as_micros(times: "pa.Array | pa.ChunkedArray", name: str) -> Int64s:
    """Microseconds since 1970 (DataError for NULLs and for other types)."""
    family = arrow_family(times.type)
    require_family(DAYS, family, f"windows: data.time `{name}`", "cast it")
    if times.null_count:
        raise DataError(f"windows: `{name}` is NULL in {times.null_count:,} rows, which have no place in their series")
    whole = arrow_cast(times, family, name).canonical.to_numpy(zero_copy_only=False)
    return whole * DAY if family == "date" else whole  # type: ignore[no-any-return]


def as_doubles(values: "pa.Array | pa.ChunkedArray", name: str, value: Any = None) -> Doubles:
    """Numbers, or microseconds of times; with a value, 1.0 where it is equal and 0.0 elsewhere. NaN where missing."""
    family = arrow_family(values.type)
    numbers = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if family == "null":
        return np.full(len(values), np.nan)
    if value is None and family in DAYS:
        return as_micros(values, name).astype(np.float64)
    if value is None:
        require_family(NUMBERS, family, f"windows: input_col `{name}`", "cast it, or take the share of a value")
    if numbers and family in NUMBERS:
        x = arrow_cast(values, family, name).number
        return x if value is None else np.where(np.isnan(x), np.nan, x == value)
    same = pc.equal(arrow_cast(values, family, name).array.cast(pa.string()), spark_text(value))
    return same.cast(pa.float64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


# --- a single row, without Spark ---


class States:
    """The states of all series, and from them the windows of later rows, bit for bit as the batch job computes them."""

    def __init__(self, definition: SeriesDefinition, states: pa.Table | None = None) -> None:
        """`states`: the Arrow table of `feature_store.window_columns.latest_states`."""
        self.definition, self._of = definition, {}
        if states is not None:
            self._of = dict(zip(_keys(definition, states), states[STATE].to_pylist(), strict=True))

    def windows(self, rows: pa.Table) -> pa.Table:
        """The rows, in any order, with their windows, sorted by series and time (DataError)."""
        return self._with_windows(rows).drop_columns([STATE])

    def update(self, rows: pa.Table) -> None:
        """Updates the states with rows that are later than all before."""
        rows = self._with_windows(rows)
        self._of |= {k: s for k, s in zip(_keys(self.definition, rows), rows[STATE].to_pylist(), strict=True) if s is not None}

    def _with_windows(self, rows: pa.Table) -> pa.Table:
        definition, names = self.definition, rows.column_names
        inputs = [c for column, _ in definition.inputs for c in raw_columns(column)]
        for name in (*definition.by, definition.time, *definition.ties, *inputs):
            if name not in names:
                raise DataError(f"windows: the rows have no column `{name}`{suggestion(name, names)}")
        as_micros(rows[definition.time], definition.time)
        keys = _keys(definition, rows)
        known = {k: keys.index(k) for k in dict.fromkeys(keys) if k in self._of}
        first = rows.take(pa.array(list(known.values()), pa.int64()))
        columns = [first[c] for c in definition.by]
        states = pa.table([*columns, pa.array([self._of[k] for k in known], STATE_TYPE)], names=[*definition.by, STATE])
        lines = pa.concat_tables([states, rows], promote_options="default").select([*names, STATE])
        order: Any = [(c, "ascending", "at_start") for c in (*definition.by, definition.time, *definition.ties)]
        ordered = lines.take(pc.sort_indices(lines, order)).combine_chunks()
        return pa.Table.from_batches(list(window_batches(definition, ordered.to_batches())))


def _keys(definition: SeriesDefinition, rows: pa.Table) -> list[tuple[Any, ...]]:
    if not definition.by:
        return [()] * rows.num_rows
    return list(zip(*(rows[c].to_pylist() for c in definition.by), strict=True))
