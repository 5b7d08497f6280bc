"""The feature table: the rows with their windows beside them, by period, and no period computed twice.

A period that is new is computed from the state of its series, which the last row of each series carries: the past that its
windows still reach, and the sums of those that reach back to the beginning. Where rows change that were there, all later periods are
computed again. Spark exchanges and sorts once; the kernel (`keyfold.windows`) runs over the sorted batches.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold import sql
from keyfold.digests import digest
from keyfold.errors import ConfError, DataError, nearest
from keyfold.features.windowed import Windowed
from keyfold.fitting import TO_WORKERS
from keyfold.ingest import PERIOD, RUN, period_of
from keyfold.spark import set_for_now
from keyfold.sql import col
from keyfold.values import DAYS, HASHED, NUMBERS, SqlValue, arrow_cast, arrow_family, family_of, refuse_unless
from keyfold.windows import DAY, Computed, Doubles, Int64s, Rows, Window

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.conf import Conf
    from keyfold.run import Run

STATE = "keyfold_state"
_STATE = "struct<sums:array<double>,at:array<bigint>,x:array<double>>"
_ARROW = pa.struct({"sums": pa.list_(pa.float64()), "at": pa.list_(pa.int64()), "x": pa.list_(pa.float64())})
VERSION = 1  # of what a window's bits are


class Definition(NamedTuple):
    """All windows of a conf: one series, one order. `inputs`: columns, and the value whose share is taken (or None)."""

    by: list[str]
    time: str
    ties: list[str]
    inputs: list[tuple[str, Any]]
    windows: list[Window]

    @property
    def digest(self) -> str:
        """Names the bits of the columns."""
        return digest([VERSION, self.by, self.time, self.ties, self.inputs, [list(map(str, w)) for w in self.windows]])


def definition(conf: "Conf") -> Definition | None:
    """The windows of a conf, None where it has none (ConfError where they are not of one series in one order)."""
    kinds = {name: f.kind for name, f in conf.features.items() if isinstance(f.kind, Windowed)}
    if not kinds:
        return None
    time = conf.data.time
    if time is None:
        raise ConfError(f"features.{next(iter(kinds))}: windows need data.time, the column that says when")
    found = {name: (k.by or [c for c in conf.data.key if c != time], k.order_by or [time]) for name, k in kinds.items()}
    (first, (by, order)), *_ = found.items()
    for name, other in found.items():
        if other != (by, order):
            raise ConfError(
                f"features.{name} is by {', '.join(other[0])} in the order of {', '.join(other[1])}, and features.{first} by "
                f"{', '.join(by)} in the order of {', '.join(order)}; the windows of a conf are of one series in one order"
            )
    if not by:
        raise ConfError(f"features.{first}.by must name the series, since the key is data.time alone")
    if order[0] != time:
        raise ConfError(f"features.{first}.order_by must begin with data.time, `{time}` (got {order[0]})")
    inputs = list(dict.fromkeys((k.input_col, k.value) for k in kinds.values()))
    return Definition(by, time, order[1:], inputs, [k.window(inputs) for k in kinds.values()])


def ready(run: "Run") -> None:
    """Brings the feature table to where the rows are; a conf without windows has none (DataError, PromiseError)."""
    made = definition(run.conf)
    if made is None:
        return
    version = run.rows.version()
    rows = run.rows.read(version.version)
    _check(run, made, rows)
    there = _periods(rows, period_of(run.conf.data, rows), _known_by(made, rows, str(version)))
    before = _periods(run.featured.read(), col(PERIOD), col(RUN)) if run.featured.exists() else {}
    changed = [p for p in {*there, *before} if before.get(p) != there.get(p)]
    if not changed:
        return
    with run.step("windows") as step:
        first = min(changed)
        states = _states(run, made, max((p for p in before if p < first), default=None))
        first = first if states is not None else ""
        counts = {p: sum(there.get(p, {}).values()) for p in sorted({*there, *before}) if p >= first}
        some = rows.where(period_of(run.conf.data, rows) >= first)
        with set_for_now(run.spark, TO_WORKERS):
            _commit(run, made, some, states, counts, str(version))
        step.rows = sum(counts.values())


def _commit(
    run: "Run", made: Definition, rows: "DataFrame", states: "DataFrame | None", counts: Mapping[str, int], version: str,
) -> None:  # fmt: skip
    own = [c for c in rows.columns if c not in (PERIOD, RUN)]
    given = rows.select(*map(col, own), period_of(run.conf.data, rows).alias(PERIOD), _known_by(made, rows, version).alias(RUN))
    proven = run.conf.data.key if run.rows.unique(run.conf.data.key) else None
    run.featured.replace(
        windowed(made, given, states), PERIOD, counts, retention=run.conf.data.retention, schema=True, job="windows",
        run_id=digest([made.digest, version]), definition=made.digest, rows=version, unique=proven,
    )  # fmt: skip


def _known_by(made: Definition, rows: "DataFrame", version: str) -> Any:
    """text: what tells whether a row's windows are of this definition, and of the run that wrote its period."""
    from pyspark.sql import functions as F

    came = col(RUN) if RUN in rows.columns else F.lit(version)
    return F.substring(F.sha2(F.concat(F.lit(f"{made.digest}:"), came), 256), 1, 16)


def _check(run: "Run", made: Definition, rows: "DataFrame") -> None:
    for option, names in {"input_col": [c for c, _ in made.inputs], "by": made.by, "order_by": [made.time, *made.ties]}.items():
        for name in names:
            if name not in rows.columns:
                where = f"the windows of the conf ({option})"
                raise DataError(f"{where}: table `{run.rows.name}` has no column `{name}`{nearest(name, rows.columns)}")
    if both := [w.name for w in made.windows if w.name in rows.columns]:
        raise DataError(f"features.{both[0]}: table `{run.rows.name}` has a column of this name; rename the feature")
    families = {f.name: family_of(f.dataType.simpleString()) for f in rows.schema.fields}
    refuse_unless(DAYS, families[made.time], f"windows: data.time `{made.time}`", "cast it, or give its type in data.columns")
    for name in made.by:
        refuse_unless(HASHED, families[name], f"windows: by `{name}`", "choose another column")
    for name, value in made.inputs:
        if value is None:
            refuse_unless(NUMBERS, families[name], f"windows: input_col `{name}`", "cast it, or take the share of a value")
    if n := rows.where(col(made.time).isNull()).count():
        raise DataError(
            f"windows: `{made.time}` is NULL in {n:,} rows of `{run.rows.name}`, which so have no place in their series"
        )


def _periods(rows: "DataFrame", period: Any, name: Any) -> dict[str, dict[str, int]]:
    """By period the rows of each name."""
    found: dict[str, dict[str, int]] = {}
    for p, known_by, n in rows.groupBy(period.alias(PERIOD), name.alias(RUN)).count().collect():
        found.setdefault(p, {})[known_by] = n
    return found


def _states(run: "Run", made: Definition, period: str | None) -> "DataFrame | None":
    """The series' states after a period; None where not every series has one there."""
    if period is None:
        return None
    for commit in run.featured.commits():
        touched = commit.metadata.get(PERIOD, {})
        if period in touched:
            last = max(p for p, n in touched.items() if n)
            if commit.metadata.get("definition") != made.digest or last != period:
                return None
            return latest(run.featured.read(), made, period)
    return None


def latest(table: "DataFrame", made: Definition, period: str | None = None) -> "DataFrame":
    """One row for each series of a feature table, after a period (default: the last): what names it, and its state."""
    from pyspark.sql import functions as F

    rows = table.where(col(STATE).isNotNull() & (col(PERIOD) <= period if period else F.lit(True)))
    return rows.groupBy(*map(col, made.by)).agg(F.max_by(col(STATE), col(made.time)).alias(STATE))


# --- Spark ---


def windowed(made: Definition, rows: "DataFrame", states: "DataFrame | None" = None) -> "DataFrame":
    """The rows with their windows and, on the last row of each series, its state; one exchange, one sort."""
    from pyspark.sql.types import DoubleType, StructField, StructType, _parse_datatype_string

    names = rows.columns
    at, values = _numbers(made, rows)
    # By number: PySpark's mapInArrow cannot find a column whose name has dots or back-quotes.
    taken = rows.select(
        *(col(c).alias(f"_{i}") for i, c in enumerate(names)), at, *values, sql.column(f"CAST(NULL AS {_STATE})").alias("state")
    )
    if states is not None:
        by = [col(c).alias(f"_{names.index(c)}") for c in made.by]
        taken = taken.unionByName(states.select(*by, col(STATE).alias("state")), allowMissingColumns=True)
    series = [f"_{names.index(c)}" for c in made.by]
    ties = [f"_{names.index(c)}" for c in made.ties]
    ordered = taken.repartition(*series).sortWithinPartitions(*series, "at", *ties)
    state = StructField(STATE, _parse_datatype_string(_STATE))
    schema = StructType([*rows.schema.fields, *(StructField(w.name, DoubleType()) for w in made.windows), state])
    return ordered.mapInArrow(partial(_batches, shape_of(made, names)), schema)


def _numbers(made: Definition, rows: "DataFrame") -> tuple[Any, list[Any]]:
    """The time in microseconds and the inputs as doubles."""
    from keyfold import hashing

    families = {f.name: family_of(f.dataType.simpleString()) for f in rows.schema.fields}
    time = hashing.sql_canonical(sql.reference(made.time), families[made.time])
    at = sql.column(f"CAST({time} AS BIGINT)" + (" * 86400000000L" if families[made.time] == "date" else "")).alias("at")
    values = []
    for number, (name, value) in enumerate(made.inputs):
        x = SqlValue(sql.reference(name), families[name])
        same = f"CASE WHEN {x.column} IS NOT NULL THEN IF(CAST({x.column} AS STRING) = {sql.text(_text(value))}, 1D, 0D) END"
        values.append(sql.column(x.number if value is None else same).alias(f"x{number}"))
    return at, values


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- Arrow ---


class Shape(NamedTuple):
    """How the batches of a definition are laid out: the rows' own columns, `at`, the inputs, `state`."""

    made: Definition
    names: list[str]
    by: list[int]
    ties: list[int]


def shape_of(made: Definition, names: Sequence[str]) -> Shape:
    """That of rows with these columns."""
    return Shape(made, [*names], [names.index(c) for c in made.by], [names.index(c) for c in made.ties])


class Past(NamedTuple):
    """What is left of a series: times, inputs (inputs, rows), and the sums before them."""

    at: Int64s
    x: Doubles
    sums: Sequence[float] | None


def _batches(shape: Shape, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    past: Past | None = None
    for batch, following in _with_next(b for b in batches if b.num_rows):
        seam = [batch.slice(batch.num_rows - 1), *([following.slice(0, 1)] if following is not None else [])]
        goes_on = len(seam) > 1 and not _changes(shape, *seam)[0]
        _refuse_ties(shape, pa.Table.from_batches(seam).combine_chunks().to_batches()[0], np.array([True, not goes_on]))
        made, past = batch_of(shape, batch, past, goes_on=goes_on)
        if made.num_rows:
            yield made


def _with_next(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch | None]]:
    held = None
    for batch in batches:
        if held is not None:
            yield held, batch
        held = batch
    if held is not None:
        yield held, None


def _changes(shape: Shape, one: pa.RecordBatch, next_: pa.RecordBatch, columns: Sequence[int] | None = None) -> Any:
    """booleans: where the rows of two batches differ in what names their series, NULLs being alike."""
    found = np.zeros(one.num_rows, bool)
    for i in shape.by if columns is None else columns:
        a, b = one.column(i), next_.column(i)
        same = pc.or_(pc.equal(a, b).fill_null(False), pc.and_(a.is_null(), b.is_null()))
        found |= ~same.to_numpy(zero_copy_only=False)
    return found


def batch_of(shape: Shape, batch: pa.RecordBatch, past: Past | None, *, goes_on: bool) -> tuple[pa.RecordBatch, Past | None]:
    """A batch in order, with its windows, and what is left of its last series; `past` is that of its first, if it had begun.

    DataError where two rows of a series are of one time and nothing tells which is first.
    """
    n, made = batch.num_rows, shape.made
    new = np.concatenate([[past is None], _changes(shape, batch.slice(0, n - 1), batch.slice(1))])
    series = np.cumsum(new) - new[0]
    state = batch.column(len(shape.names) + 1 + len(made.inputs))
    data = state.is_null().to_numpy(zero_copy_only=False)
    _refuse_ties(shape, batch, new)
    pasts = _pasts(state, series, len(made.inputs))
    if past is not None:
        pasts[0] = past
    rows, last = _laid_out(shape, batch, series, data, pasts)
    computed = Computed(made.windows, rows)
    columns = [pa.array(computed.column(w), from_pandas=True) for w in made.windows]
    has = np.flatnonzero(last >= 0)  # series with rows of this batch
    keep, sums = computed.past(last[has])
    x = np.stack([rows.values[f"x{i}"] for i in range(len(made.inputs))])
    rest = [Past(rows.at[k : end + 1], x[:, k : end + 1], s) for k, end, s in zip(keep, last[has], sums, strict=True)]
    left = None
    if goes_on:
        left = rest[-1] if len(has) and has[-1] == series[-1] else pasts.get(int(series[-1]))
        left = left or Past(np.zeros(0, np.int64), np.zeros((len(made.inputs), 0)), None)
    ended = {int(s): r for s, r in zip(has, rest, strict=True) if not (goes_on and s == series[-1])}
    of_series = np.flatnonzero(np.append(np.diff(series[data]) > 0, True)) if data.any() else np.zeros(0, int)
    states: list[dict[str, Any] | None] = [None] * int(data.sum())
    for place in of_series:
        if (r := ended.get(int(series[data][place]))) is not None:
            states[place] = {"sums": list(r.sums or ()), "at": r.at.tolist(), "x": r.x.T.reshape(-1).tolist()}
    own = [c.filter(pa.array(data)) for c in batch.columns[: len(shape.names)]]
    return pa.RecordBatch.from_arrays(
        [*own, *columns, pa.array(states, _ARROW)], [*shape.names, *(w.name for w in made.windows), STATE]
    ), left


def _refuse_ties(shape: Shape, batch: pa.RecordBatch, new: Any) -> None:
    if batch.num_rows < 2:
        return
    at = len(shape.names)
    data = ~batch.column(at).is_null().to_numpy(zero_copy_only=False)
    tied = ~new[1:] & data[1:] & data[:-1]
    tied &= ~_changes(shape, batch.slice(0, batch.num_rows - 1), batch.slice(1), [at, *shape.ties])
    if tied.any():
        row = int(np.flatnonzero(tied)[0]) + 1
        key = ", ".join(f"{c} {batch.column(i)[row].as_py()}" for c, i in zip(shape.made.by, shape.by, strict=True))
        when = batch.column(shape.names.index(shape.made.time))[row].as_py()
        order = ", ".join([shape.made.time, *shape.made.ties])
        raise DataError(
            f"windows: two rows of {key} have the same {order} ({when}), so which is first cannot be told; "
            "name what tells them apart in order_by, or drop one"
        )


def _pasts(state: pa.StructArray, series: Int64s, inputs: int) -> dict[int, Past]:
    found = {}
    for row in np.flatnonzero(~state.is_null().to_numpy(zero_copy_only=False)):
        s = state[row].as_py()
        at = np.array(s["at"], np.int64)
        found[int(series[row])] = Past(at, np.array(s["x"], np.float64).reshape(len(at), inputs).T, s["sums"] or None)
    return found


def _laid_out(shape: Shape, batch: pa.RecordBatch, series: Int64s, data: Any, pasts: Mapping[int, Past]) -> tuple[Rows, Int64s]:
    """The rows of a batch, each series after what is left of it; and of each series the place of its last row, or -1."""
    many, first = int(series[-1]) + 1, len(shape.names)
    own = series[data]
    before = np.zeros(many, np.int64)
    for s, past in pasts.items():
        before[s] = len(past.at)
    of = np.bincount(own, minlength=many)
    starts = np.concatenate([[0], np.cumsum(before + of)])
    place = np.arange(len(own)) + np.cumsum(before)[own] if len(own) else np.zeros(0, np.int64)
    at, mine = np.zeros(starts[-1], np.int64), np.zeros(starts[-1], bool)
    mine[place] = True
    at[place] = batch.column(first).filter(pa.array(data)).to_numpy(zero_copy_only=False)
    values = {}
    for i in range(len(shape.made.inputs)):
        x = np.full(starts[-1], np.nan)
        x[place] = batch.column(first + 1 + i).filter(pa.array(data)).to_numpy(zero_copy_only=False)
        for s, past in pasts.items():
            x[starts[s] : starts[s] + before[s]] = past.x[i]
        values[f"x{i}"] = x
    for s, past in pasts.items():
        at[starts[s] : starts[s] + before[s]] = past.at
    sums = {int(starts[s]): past.sums for s, past in pasts.items() if past.sums is not None and before[s] + of[s]}
    last = np.where(of > 0, starts[1:] - 1, -1)
    return Rows(np.repeat(starts[:-1], before + of), at, values, mine, sums), last


# --- a single row, without Spark ---


class States:
    """The states of all series, from which further rows get their windows: those that the batch job would give them, bit for bit."""

    def __init__(self, made: Definition, states: pa.Table | None = None) -> None:
        """`states`: what `latest` gives, as Arrow."""
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
        for name in (*made.by, made.time, *made.ties, *(c for c, _ in made.inputs)):
            if name not in names:
                raise DataError(f"windows: the rows have no column `{name}`{nearest(name, names)}")
        numbers = [_micros_of(rows[made.time], made.time), *(_doubles_of(rows[c], c, value) for c, value in made.inputs)]
        own = pa.table([*rows.columns, *numbers], names=[*names, *_numbered(made)])
        keys = _keys(made, rows)
        known = {k: keys.index(k) for k in dict.fromkeys(keys) if k in self._of}
        first = rows.select(made.by).take(pa.array(list(known.values()), pa.int64()))
        states = first.append_column("state", pa.array([self._of[k] for k in known], _ARROW))
        lines = pa.concat_tables([states, own], promote_options="default").select([*own.column_names, "state"])
        order: Any = [(c, "ascending", "at_start") for c in (*made.by, "at", *made.ties)]
        ordered = lines.take(pc.sort_indices(lines, order)).combine_chunks()
        found = list(_batches(shape_of(made, names), ordered.to_batches()))
        return pa.Table.from_batches(found) if found else own.select(names).slice(0, 0)


def _numbered(made: Definition) -> list[str]:
    return ["at", *(f"x{i}" for i in range(len(made.inputs)))]


def _keys(made: Definition, rows: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(rows[c].to_pylist() for c in made.by), strict=True))


def _micros_of(times: pa.ChunkedArray, name: str) -> pa.Array:
    family = arrow_family(times.type)
    refuse_unless(DAYS, family, f"windows: data.time `{name}`", "cast it")
    if times.null_count:
        raise DataError(f"windows: `{name}` is NULL in {times.null_count:,} rows, which so have no place in their series")
    whole = arrow_cast(times, family, name).canonical
    return pc.multiply(whole, DAY) if family == "date" else whole


def _doubles_of(values: pa.ChunkedArray, name: str, value: Any) -> pa.Array:
    if value is not None:
        same = pc.equal(values.combine_chunks().cast(pa.string()), _text(value))
        return same.cast(pa.float64())
    family = arrow_family(values.type)
    if family == "null":
        return pa.nulls(len(values), pa.float64())
    refuse_unless(NUMBERS, family, f"windows: input_col `{name}`", "cast it")
    return pa.array(arrow_cast(values, family, name).number, from_pandas=True)
