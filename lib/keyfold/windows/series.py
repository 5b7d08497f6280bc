"""Series as Arrow batches: rows in the order of series and time through the window kernel, each series' past carried along.

A row that carries a state (see `feature_table`) comes before the rows of its series. What a batch leaves of its last series goes on to the
next; so memory is bounded by a batch and by what the windows reach, not by the series.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.digests import digest
from keyfold.core.names import STATE
from keyfold.core.types import DAYS, NUMBERS, arrow_cast, arrow_family, require_family, spark_text
from keyfold.errors import DataError, suggestion
from keyfold.windows.kernel import DAY, ComputedWindows, SeriesRows, Window, summed_width, whole_range

STATE_TYPE = pa.struct({"sums": pa.list_(pa.float64()), "at": pa.list_(pa.int64()), "x": pa.list_(pa.float64())})
WINDOWS_VERSION = 2  # of what a window's bits are


class SeriesDefinition(NamedTuple):
    """All windows of a conf: by the columns of its series (none: the table is one), in one order. `inputs`: columns, and the value whose share is taken (or None)."""

    by: list[str]
    time: str
    ties: list[str]
    inputs: list[tuple[str | Derived, Any]]
    windows: list[Window]

    @property
    def digest(self) -> str:
        """Names the bits of the columns."""
        inputs = [(c if isinstance(c, str) else c.model_dump(mode="json"), value) for c, value in self.inputs]
        return digest([WINDOWS_VERSION, self.by, self.time, self.ties, inputs, [list(map(str, w)) for w in self.windows]])


class SeriesPast(NamedTuple):
    """What is left of some series: their numbers, ascending; of each how many rows, and the sums before them (series, sums).

    `at` and `x` (rows, inputs) have the rows of one series after another.
    """

    series: Int64s
    many: Int64s
    at: Int64s
    x: Doubles
    sums: Doubles

    def split(self) -> "tuple[SeriesPast, SeriesPast]":
        """All series but the last, and the last as number 0."""
        cut = len(self.at) - int(self.many[-1])
        first = SeriesPast(self.series[:-1], self.many[:-1], self.at[:cut], self.x[:cut], self.sums[:-1])
        return first, SeriesPast(np.zeros(1, np.int64), self.many[-1:], self.at[cut:], self.x[cut:], self.sums[-1:])

    def and_then(self, other: "SeriesPast") -> "SeriesPast":
        """With series of higher numbers behind it."""
        return SeriesPast(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


def window_batches(made: SeriesDefinition, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Adds to ordered batches their windows and, on the last row of each series, its state.

    A last column STATE, if there is one, holds the states of series so far. DataError if two rows of a series have the same time and ties.
    """
    past: SeriesPast | None = None
    for taken, following in _with_next(SeriesBatch(made, b) for b in batches if b.num_rows):
        goes_on = following is not None and taken.before(following)
        yield from taken.windows(past, goes_on=goes_on)
        past = taken.left


def _with_next(some: "Iterable[SeriesBatch]") -> "Iterator[tuple[SeriesBatch, SeriesBatch | None]]":
    held = None
    for batch in some:
        if held is not None:
            yield held, batch
        held = batch
    if held is not None:
        yield held, None


class SeriesBatch:
    """A batch in order; `data`: which of its rows are no states; `series`: the number of each row's series."""

    left: SeriesPast | None = None  # of the last series, where it goes on

    def __init__(self, made: SeriesDefinition, batch: pa.RecordBatch) -> None:
        self.made, self.batch = made, batch
        self.column = dict(zip(batch.schema.names, batch.columns, strict=True))
        self.names = [name for name in self.column if name != STATE]
        state = self.column.get(STATE)
        self.data: Bools = np.ones(batch.num_rows, bool) if state is None else _bools(state.is_null())
        changed = ~_same([self.column[c] for c in made.by], batch.num_rows)
        self.series: Int64s = np.concatenate([[0], np.cumsum(changed)])
        self._refuse_ties(self.batch, ~changed & self.data[1:] & self.data[:-1])

    def before(self, following: "SeriesBatch") -> bool:
        """Whether the series of its last row goes on in the next batch."""
        seam = (
            pa.Table.from_batches([self.batch.slice(len(self.data) - 1), following.batch.slice(0, 1)])
            .combine_chunks()
            .to_batches()[0]
        )
        goes_on = bool(_same([seam.column(self.names.index(c)) for c in self.made.by], 2)[0])
        self._refuse_ties(seam, np.array([goes_on and self.data[-1] and following.data[0]]))
        return goes_on

    def windows(self, past: SeriesPast | None, *, goes_on: bool) -> Iterator[pa.RecordBatch]:
        """The rows that are no states, where there are some; `past` is that of the first series, if it had begun before."""
        made, before = self.made, self._past()
        before = past.and_then(before) if past is not None else before
        rows, last = self._laid_out(before)
        computed = ComputedWindows(made.windows, rows)
        columns = [_or_null(computed.column(w)) for w in made.windows]
        there = np.flatnonzero(last >= 0)  # series with rows of this batch
        keep, sums = computed.past(last[there])
        many = last[there] + 1 - keep
        kept = _ranges(keep, many)
        x = np.stack([rows.values[f"x{i}"][kept] for i in range(len(made.inputs))], axis=1)
        rest = SeriesPast(there, many, rows.at[kept], x, sums)
        if goes_on and last[-1] >= 0:
            rest, self.left = rest.split()
        elif goes_on:
            self.left = before.split()[1]
        if len(there):
            own = self.batch.columns[: len(self.names)]
            own = own if self.data.all() else [c.filter(pa.array(self.data)) for c in own]
            names = [*self.names, *(w.name for w in made.windows), STATE]
            yield pa.RecordBatch.from_arrays([*own, *columns, self._states(rest)], names)

    def _states(self, rest: SeriesPast) -> pa.Array:
        """On the last rows of series that end here."""
        series, (n, m) = self._own(self.series), rest.sums.shape
        last = np.flatnonzero(np.append(series[1:] > series[:-1], True))[:n]
        none = np.ones(len(series), bool)
        none[last] = False
        lists = []
        for many, values in ((m, rest.sums), (rest.many, rest.at), (rest.many * rest.x.shape[1], rest.x)):
            offsets = np.zeros(n + 1, np.int32)
            offsets[1:] = np.cumsum(np.broadcast_to(many, n))
            offsets = np.repeat(offsets, np.diff([0, *(last + 1), len(series) + 1]))
            lists.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1))))
        return pa.StructArray.from_arrays(lists, fields=list(STATE_TYPE), mask=pa.array(none))

    def _past(self) -> SeriesPast:
        """What the lines that are states say."""
        series = self.series[~self.data]
        if not len(series):
            none = np.zeros(0, np.int64)
            return SeriesPast(
                none, none, none, np.zeros((0, len(self.made.inputs))), np.zeros((0, summed_width(self.made.windows)))
            )
        states = self.column[STATE].filter(pa.array(~self.data))
        sums, at, x = (states.field(name).flatten().to_numpy(zero_copy_only=False) for name in ("sums", "at", "x"))
        many = pc.list_value_length(states.field("at")).to_numpy(zero_copy_only=False).astype(np.int64)
        return SeriesPast(series, many, at, x.reshape(len(at), len(self.made.inputs)), sums.reshape(len(series), -1))

    def _laid_out(self, past: SeriesPast) -> tuple[SeriesRows, Int64s]:
        """The rows, each series after what is left of it; and of each series the place of its last row, or -1."""
        series, made = self._own(self.series), self.made
        many = int(self.series[-1]) + 1
        before = np.zeros(many, np.int64)
        before[past.series] = past.many
        of = np.bincount(series, minlength=many)
        starts = np.concatenate([[0], np.cumsum(before + of)])
        place = np.arange(len(series)) + np.cumsum(before)[series]
        at, mine = np.zeros(starts[-1], np.int64), np.zeros(starts[-1], bool)
        put = whole_range(place) or place
        mine[put] = True
        at[put] = as_micros(self._column(made.time), made.time)
        values = {f"x{i}": np.full(starts[-1], np.nan) for i in range(len(made.inputs))}
        for x, (name, value) in zip(values.values(), made.inputs, strict=True):
            x[put] = as_doubles(self._input(name), str(name), value)
        there = _ranges(starts[past.series], past.many)
        at[there] = past.at
        for i, x in enumerate(values.values()):
            x[there] = past.x[:, i]
        sums = dict(zip(starts[past.series].tolist(), past.sums.tolist(), strict=True))
        last = np.where(of > 0, starts[1:] - 1, -1)
        return SeriesRows(np.repeat(starts[:-1], before + of), at, values, mine, sums), last

    def _column(self, name: str) -> pa.Array:
        column = self.column[name]
        return column if self.data.all() else column.filter(pa.array(self.data))

    def _input(self, name: str | Derived) -> pa.Array:
        return self._column(name) if isinstance(name, str) else name.of({c: self._column(c) for c in name.columns}, "windows")

    def _own(self, x: Int64s) -> Int64s:
        return x if self.data.all() else x[self.data]

    def _refuse_ties(self, batch: pa.RecordBatch, alike: Bools) -> None:
        """`alike`: rows after the first that are of the series of the row before."""
        made = self.made
        column = dict(zip(self.names, batch.columns, strict=False))
        tied = alike & _same([column[c] for c in (made.time, *made.ties)], batch.num_rows)
        if tied.any():
            row = int(np.flatnonzero(tied)[0]) + 1
            raise DataError(
                f"windows: two rows of {', '.join(f'{c} {column[c][row]}' for c in made.by) or 'the table'} have the same "
                f"{', '.join([made.time, *made.ties])} ({column[made.time][row]}), so which is first cannot be told; "
                "name what tells them apart in order_by, or drop one"
            )


def _ranges(begin: Int64s, many: Int64s) -> Int64s:
    """The places of so many rows from each beginning on."""
    ends = np.cumsum(many)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - ends + many, many)  # type: ignore[no-any-return]


def _or_null(x: Doubles) -> pa.Array:
    """NULL where NaN; without a copy."""
    there = ~np.isnan(x)
    bits = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(x), [bits, pa.py_buffer(np.ascontiguousarray(x))])


def _bools(array: pa.Array) -> Bools:
    return array.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _same(columns: Iterable[pa.Array], rows: int) -> Bools:
    """Of rows after the first: whether all columns are as in the row before, NULLs being alike."""
    found: Bools = np.ones(rows - 1, bool)
    for c in columns:
        a, b = c[:-1], c[1:]
        same = pc.equal(a, b)
        if c.null_count:
            same = pc.or_(same.fill_null(False), pc.and_(a.is_null(), b.is_null()))
        found = found & _bools(same)
    return found


def as_micros(times: "pa.Array | pa.ChunkedArray", name: str) -> Int64s:
    """Microseconds since 1970 (DataError for NULL, or for what is no time)."""
    family = arrow_family(times.type)
    require_family(DAYS, family, f"windows: data.time `{name}`", "cast it")
    if times.null_count:
        raise DataError(f"windows: `{name}` is NULL in {times.null_count:,} rows, which have no place in their series")
    whole = arrow_cast(times, family, name).canonical.to_numpy(zero_copy_only=False)
    return whole * DAY if family == "date" else whole  # type: ignore[no-any-return]


def as_doubles(values: "pa.Array | pa.ChunkedArray", name: str, value: Any = None) -> Doubles:
    """Numbers, NaN where missing, of times microseconds; or, with a value, 1.0 where it is and 0.0 where another is."""
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
    """The states of all series, from which further rows get their windows: those that the batch job would give them, bit for bit."""

    def __init__(self, made: SeriesDefinition, states: pa.Table | None = None) -> None:
        """`states`: what `feature_table.latest` gives, as Arrow."""
        self.made, self._of = made, {}
        if states is not None:
            self._of = dict(zip(_keys(made, states), states[STATE].to_pylist(), strict=True))

    def windows(self, rows: pa.Table) -> pa.Table:
        """Rows (any order, several of a series too) with their windows, in the order of series and time (DataError)."""
        return self._made(rows).drop_columns([STATE])

    def take_in(self, rows: pa.Table) -> None:
        """Has the states go on over rows that are later than all before."""
        made = self._made(rows)
        self._of |= {k: s for k, s in zip(_keys(self.made, made), made[STATE].to_pylist(), strict=True) if s is not None}

    def _made(self, rows: pa.Table) -> pa.Table:
        made, names = self.made, rows.column_names
        for name in (*made.by, made.time, *made.ties, *(c for taken, _ in made.inputs for c in raw_columns(taken))):
            if name not in names:
                raise DataError(f"windows: the rows have no column `{name}`{suggestion(name, names)}")
        as_micros(rows[made.time], made.time)
        keys = _keys(made, rows)
        known = {k: keys.index(k) for k in dict.fromkeys(keys) if k in self._of}
        first = rows.take(pa.array(list(known.values()), pa.int64()))
        columns = [first[c] for c in made.by]
        states = pa.table([*columns, pa.array([self._of[k] for k in known], STATE_TYPE)], names=[*made.by, STATE])
        lines = pa.concat_tables([states, rows], promote_options="default").select([*names, STATE])
        order: Any = [(c, "ascending", "at_start") for c in (*made.by, made.time, *made.ties)]
        ordered = lines.take(pc.sort_indices(lines, order)).combine_chunks()
        return pa.Table.from_batches(list(window_batches(made, ordered.to_batches())))


def _keys(made: SeriesDefinition, rows: pa.Table) -> list[tuple[Any, ...]]:
    if not made.by:
        return [()] * rows.num_rows
    return list(zip(*(rows[c].to_pylist() for c in made.by), strict=True))
