"""Windows: against another engine, against plain loops, and the same bits whatever was computed before, in whatever batches."""

import datetime as dt
import math
import re
import sqlite3
from functools import reduce
from itertools import pairwise
from operator import add
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.core.names import STATE
from keyfold.errors import DataError
from keyfold.features.kinds.windowed import Windowed, parse_span
from keyfold.windows.kernel import DAY, ComputedWindows, Frame, SeriesRows, Span, Window
from keyfold.windows.series import STATE_TYPE, SeriesDefinition, window_batches

HOUR = DAY // 24
TAKES = ["count", "sum", "mean", "min", "max", "std", "share", "slope", "ewm", "first", "last", "lag", "difference", "return"]


def kind(name, **conf):
    more = {"share": {"value": 2.0}, "ewm": {"alpha": 0.3}}.get(conf["take"], {})
    return Windowed.model_validate({"input_col": "x", "by": "k", "column": name, **more, **conf})


def made_of(confs):
    kinds = [kind(f"w{i}", **conf) for i, conf in enumerate(confs)]
    inputs = list(dict.fromkeys((k.input_col, k.value) for k in kinds))
    return SeriesDefinition(["k"], "t", [], inputs, [k.window(inputs) for k in kinds])


def batch(made, rows, states=None):
    """Rows (k, micros, x) in order; `states` of series come before their first."""
    lines = [((k, 0, 0), k, None, None, s) for k, s in (states or {}).items() if any(r[0] == k for r in rows)]
    lines += [((k, 1, at), k, at, x, None) for k, at, x in rows]
    lines.sort(key=lambda line: line[0])
    ks, ats, xs, state = (list(c) for c in zip(*(line[1:] for line in lines), strict=True))
    columns = [pa.array(ks, pa.int64()), pa.array(ats, pa.timestamp("us", "UTC")), pa.array(xs, pa.float64())]
    states_ = [pa.array(state, STATE_TYPE)] if states else []
    return pa.RecordBatch.from_arrays([*columns, *states_], ["k", "t", "x", *([STATE] if states else [])])


def run(made, rows, cuts=(), states=None):
    """The table of the kernel, over batches that are cut at these places."""
    whole = batch(made, rows, states)
    places = sorted({0, whole.num_rows, *(c % (whole.num_rows + 1) for c in cuts)})
    parts = [whole.slice(a, b - a) for a, b in pairwise(places)] or [whole]
    return pa.Table.from_batches(list(window_batches(made, parts)))


def states_of(table, before=None):
    ended = zip(table["k"].to_pylist(), table[STATE].to_pylist(), strict=True)
    return (before or {}) | {k: s for k, s in ended if s is not None}


def same_bits(a, b):
    return len(a) == len(b) and all(
        np.array_equal(*(np.array(t[c].to_pylist(), float).view(np.int64) for t in (a, b))) for c in a.column_names if c[0] == "w"
    )


# --- a plain reading of the definition ---


def plain(conf, series, i):
    """What the definition says of row i of a series of (micros, x), by loops over Python's floats."""
    at, over, lag, current = (
        series[i][0],
        parse_span(conf["over"]),
        parse_span(conf.get("lag", "0 rows")),
        conf.get("current", False),
    )
    if lag.rows is not None and (over.rows or over == Span() or current or lag.rows):
        known = series[: max(0, i - lag.rows + bool(current))]
    else:
        bound = at - (lag.micros or 0)
        known = [r for r in series[: i + 1] if r[0] < bound or (current and r[0] == bound)]
    if over.rows:
        frame = known[-over.rows :]
    elif over.micros:
        begin = at - (lag.micros or 0) - over.micros
        frame = [r for r in known if r[0] > begin or (not current and r[0] == begin)]
    else:
        frame = known
    return told(conf["take"], frame, at, over, conf.get("min_count"))


def told(take, frame, at, over, least):
    xs = [x for _, x in frame if x is not None]
    if take == "share":
        xs = [float(x == 2.0) for x in xs]
    places = {"first": lambda: frame[0][1], "lag": lambda: frame[0][1], "last": lambda: frame[-1][1]}
    if take in (*places, "difference", "return"):
        if len(frame) < (least or (over.rows if take in ("lag", "difference", "return") else None) or 1):
            return None
        if take in places:
            return places[take]()
        first, last = frame[0][1], frame[-1][1]
        if None in (first, last) or (take == "return" and first == 0):
            return None
        return last - first if take == "difference" else last / first - 1
    if len(xs) < (least or int(take != "count")):
        return None
    if take == "count":
        return float(len(xs))
    total = 0.0
    for x in xs:
        total += x
    if take in ("sum", "min", "max"):
        return {"sum": total, "min": min(xs), "max": max(xs)}[take]
    mean = total / len(xs)
    if take in ("mean", "share"):
        return mean
    if take == "ewm":
        above = below = 0.0
        for _, x in frame:
            above, below = above * 0.7 + (x or 0.0), below * 0.7 + (x is not None)
        return above / below
    if take == "std":
        return math.sqrt(sum((x - mean) ** 2 for x in xs) / (len(xs) - 1)) if len(xs) > 1 else None
    days = [(t - at) / DAY for t, x in frame if x is not None]
    middle = sum(days) / len(days)
    below = sum((d - middle) ** 2 for d in days)
    return sum((d - middle) * (x - mean) for d, x in zip(days, xs, strict=True)) / below if below > 0 else None


OVER = ["all", "1 row", "3 rows", "2 hours", "1 day"]
CONFS = [
    {"take": take, "over": over, "current": current, "lag": lag}
    for take in TAKES for over in OVER for current in (False, True) for lag in ("0 rows", "2 rows", "3 hours")
    if not (over == "all" and take in ("lag", "slope"))
]  # fmt: skip
CONFS += [
    {"take": take, "over": over, "current": True, "min_count": least}
    for take in TAKES for over in ("all", "3 rows", "1 day") for least in (2, 3)
    if not (over == "all" and take in ("lag", "slope"))
]  # fmt: skip
MADE = made_of(CONFS)
VALUES = st.sampled_from([None, 0.1, 0.2, 0.7, 1e16, -1e16, 2.0, 2.0, 3.0, -0.5])
SERIES = st.lists(st.tuples(st.integers(0, 60), VALUES), max_size=14, unique_by=lambda row: row[0])
ROWS = st.lists(SERIES, min_size=1, max_size=4).map(
    lambda many: sorted((k, hour * HOUR, x) for k, one in enumerate(many) for hour, x in one)
)
EXACT = ("count", "sum", "mean", "min", "max", "share", "ewm", "first", "last", "lag", "difference", "return")


@settings(max_examples=25)
@given(ROWS)
def test_the_kernel_is_the_definition(rows):
    found = run(MADE, rows) if rows else None
    for i, (k, at, _) in enumerate(rows):
        series = [(t, x) for key, t, x in rows if key == k]
        here = [t for t, _ in series].index(at)
        for n, conf in enumerate(CONFS):
            wanted, got = plain(conf, series, here), found[f"w{n}"][i].as_py()
            if wanted is None or conf["take"] in EXACT:
                assert (got, conf, rows) == (wanted, conf, rows)
            elif max(abs(x or 0) for _, x in series) < 1e15:
                assert got == pytest.approx(wanted, rel=1e-6, abs=1e-6), (conf, rows)


@settings(max_examples=15)
@given(ROWS, st.lists(st.integers(0, 60), max_size=6), st.lists(st.integers(0, 61), max_size=4))
def test_batches_and_what_was_computed_before_change_no_bit(rows, cuts, days):
    if not rows:
        return
    whole = run(MADE, rows)
    assert same_bits(whole, run(MADE, rows, cuts))
    known, parts = {}, []
    for start, end in pairwise([-1, *sorted(set(days)), 99]):
        some = [r for r in rows if start < r[1] / HOUR <= end]
        if some:
            parts.append(run(MADE, some, cuts, known))
            known = states_of(parts[-1], known)
    together = pa.concat_tables(parts).sort_by([("k", "ascending"), ("t", "ascending")])
    assert same_bits(whole, together)
    assert {k: str(s) for k, s in known.items()} == {k: str(s) for k, s in states_of(whole).items()}


def test_a_window_by_itself_keeps_what_it_needs():
    rows = [(0, h * HOUR, x) for h, x in enumerate([0.1, None, 0.7, 2.0, -0.5, 0.2, 3.0, 0.3])]
    for conf in CONFS:
        made = made_of([conf])
        whole = run(made, rows)
        for cut in range(1, len(rows)):
            first = run(made, rows[:cut])
            assert same_bits(whole, pa.concat_tables([first, run(made, rows[cut:], states=states_of(first))])), (conf, cut)


@given(st.integers(1, 10**10), st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=9))
def test_rows_of_one_time_have_no_slope(since, xs):
    """Whatever the rounding of their times' mean, seen from a later row."""
    window = Window("w", "x", "slope", Frame(Span(rows=9)))
    values = {"x": np.array([np.nan if x is None else x for x in [*xs, 1.0, 2.0]])}
    times = np.array([*[0] * len(xs), since, 2 * since])
    rows = SeriesRows(np.zeros(len(times), np.int64), times, values, np.ones(len(times), bool), {})
    found = ComputedWindows([window], rows).column(window)
    assert np.isnan(found[:-1]).all()
    assert np.isnan(found[-1]) == all(x is None for x in xs[-8:])


# --- tiles ---


def by_tiles(conf, series, i):
    """The parts that the definition adds up, each in its order, as one list of lists of values."""
    at, over, lag = series[i][0], parse_span(conf["over"]).micros, parse_span(conf.get("lag", "0 rows")).micros or 0
    width, until = {"hour": HOUR, "day": DAY}[conf["tile"]], at - lag
    if conf["current"]:
        frame = [r for r in series[: i + 1] if until - over < r[0] <= until]
    else:
        frame = [r for r in series[: i + 1] if until - over <= r[0] < until]
    parts = {}
    for t, x in frame:
        parts.setdefault(t // width, []).append(x)
    tail = parts.pop(until // width, [])
    head, *whole = parts.values() if parts else [[]]
    return [[x for x in part if x is not None] for part in (head[::-1], *whole, tail)]


def added(parts):
    """(((head) + (whole tiles)) + tail)."""
    head, *whole, tail = (reduce(add, part, 0.0) for part in parts)
    return (head + reduce(add, whole, 0.0)) + tail


TILED = [
    {"take": take, "over": over, "tile": tile, "current": current, "lag": lag}
    for take in ("count", "sum", "mean", "min", "max", "share", "std")
    for over, tile in (("2 hours", "hour"), ("90 minutes", "hour"), ("1 day", "hour"), ("2 days", "day"))
    for current in (False, True) for lag in ("0 rows", "30 minutes", "1 day")
]  # fmt: skip
LONG = st.lists(st.tuples(st.integers(0, 5000), VALUES), max_size=40, unique_by=lambda row: row[0])
MINUTES = st.lists(LONG, min_size=1, max_size=2).map(
    lambda many: sorted((k, minute * HOUR // 60 - DAY, x) for k, one in enumerate(many) for minute, x in one)
)


@settings(max_examples=25)
@given(MINUTES)
def test_tiles_are_added_as_they_are_defined(rows):
    found = run(made_of(TILED), rows) if rows else None
    for i, (k, at, _) in enumerate(rows):
        series = [(t, x) for key, t, x in rows if key == k]
        here = [t for t, _ in series].index(at)
        for n, conf in enumerate(TILED):
            parts, got = by_tiles(conf, series, here), found[f"w{n}"][i].as_py()
            if conf["take"] == "share":
                parts = [[float(x == 2.0) for x in part] for part in parts]
            xs = [x for part in parts for x in part]
            if not xs:
                assert got == (0 if conf["take"] == "count" else None)
            elif conf["take"] != "std":
                total = added(parts)
                wanted = {"count": len(xs), "sum": total, "min": min(xs), "max": max(xs)}.get(conf["take"], total / len(xs))
                assert (got, conf, rows) == (wanted, conf, rows)
            elif max(map(abs, xs)) < 1e15:
                assert got == (pytest.approx(np.std(xs, ddof=1), rel=1e-9, abs=1e-9) if len(xs) > 1 else None)


@settings(max_examples=15)
@given(MINUTES, st.lists(st.integers(0, 80), max_size=6), st.lists(st.integers(-24, 60), max_size=4))
def test_batches_and_what_was_computed_before_change_no_bit_of_tiles(rows, cuts, hours):
    made = made_of([*TILED, {"take": "sum", "over": "1 month", "tile": "day"}])
    if not rows:
        return
    whole = run(made, rows)
    assert same_bits(whole, run(made, rows, cuts))
    known, parts = {}, []
    for start, end in pairwise([-(10**15), *sorted({h * HOUR for h in hours}), 10**15]):
        some = [r for r in rows if start < r[1] <= end]
        if some:
            parts.append(run(made, some, cuts, known))
            known = states_of(parts[-1], known)
    together = pa.concat_tables(parts).sort_by([("k", "ascending"), ("t", "ascending")])
    assert same_bits(whole, together)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"take": "slope", "over": "9 days"}, "`tile` is for take: count, sum, mean, share, min, max, std (got slope)"),
        ({"take": "sum", "over": "9 rows"}, r"`tile` is for frames of a day or more (got over: 9 rows)"),
        ({"take": "sum", "over": "23 hours"}, r"`tile` is for frames of a day or more (got over: 23 hours)"),
        ({"take": "sum", "over": "9 days", "lag": "2 rows"}, r"`tile` needs a lag of time (got 2 rows)"),
    ],
)
def test_tiles_that_cannot_be(conf, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        kind("w", tile="day", **conf)


def test_times_of_all_ages_side_by_side():
    rng = np.random.default_rng(1)
    near = [(k, int(h) * HOUR, float(h)) for k in range(1, 30) for h in np.unique(rng.integers(0, 90, 9))]
    far = [(0, -719_000 * DAY, 1.0), (0, 2_932_000 * DAY, 2.0)]
    made = made_of(CONFS)
    assert same_bits(run(made, [*far, *near]).slice(2), run(made, near))


def test_another_engine_agrees():
    rng = np.random.default_rng(0)
    rows = sorted(
        {
            (int(k), int(t) * HOUR, float(x))
            for k, t, x in zip(rng.integers(0, 9, 4000), rng.permutation(4000), rng.normal(size=4000), strict=True)
        }
    )
    frames = {
        "ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING": {"over": "5 rows"},
        "ROWS BETWEEN 4 PRECEDING AND CURRENT ROW": {"over": "5 rows", "current": True},
        "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING": {"over": "all"},
        f"RANGE BETWEEN {7 * DAY} PRECEDING AND 1 PRECEDING": {"over": "7 days"},
        f"RANGE BETWEEN {9 * DAY} PRECEDING AND {2 * DAY + 1} PRECEDING": {"over": "7 days", "lag": "2 days"},
        f"RANGE BETWEEN {7 * DAY - 1} PRECEDING AND CURRENT ROW": {"over": "7 days", "current": True},
    }
    takes = {
        "count": "COUNT(x)",
        "sum": "SUM(x)",
        "mean": "AVG(x)",
        "min": "MIN(x)",
        "max": "MAX(x)",
        "first": "FIRST_VALUE(x)",
        "last": "LAST_VALUE(x)",
    }
    confs = [{"take": take} | frame for frame in frames.values() for take in takes]
    found = run(made_of(confs), rows, [500, 1700, 1701])
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE r (k INTEGER, t INTEGER, x REAL)")
    base.executemany("INSERT INTO r VALUES (?, ?, ?)", rows)
    columns = [f"{take} OVER (PARTITION BY k ORDER BY t {frame})" for frame in frames for take in takes.values()]
    wanted = base.execute(f"SELECT {', '.join(columns)} FROM r ORDER BY k, t").fetchall()
    for n, column in enumerate(zip(*wanted, strict=True)):
        wanted = [math.nan if x is None else x for x in column]
        got = found[f"w{n}"].to_numpy()
        assert np.allclose(got, wanted, rtol=1e-12, atol=1e-12, equal_nan=True), (confs[n], columns[n])


def test_months_are_those_of_the_calendar():
    days = ["2024-01-31", "2024-02-28", "2024-02-29", "2024-03-30", "2024-03-31", "2024-05-31"]
    at = [int(dt.datetime.fromisoformat(d).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000 for d in days]
    before = Span(months=1).before(np.array(at)).astype("M8[us]").astype("M8[D]").astype(str).tolist()
    assert before == ["2023-12-31", "2024-01-28", "2024-01-29", "2024-02-29", "2024-02-29", "2024-04-30"]
    rows = [(0, t, float(i)) for i, t in enumerate(at)]
    made = made_of([{"over": "1 month", "take": "count"}, {"over": "1 month", "take": "count", "current": True}])
    whole = run(made, rows)
    assert whole["w0"].to_pylist() == [0, 1, 2, 1, 2, 0]
    assert whole["w1"].to_pylist() == [1, 2, 3, 1, 2, 1]
    last = states_of(run(made, rows[:4]))
    assert same_bits(whole.slice(4), run(made, rows[4:], states=last))
    # The later row, whose month is as short, begins its frame before that of the earlier one.
    times = ["2023-02-28T12:30", "2023-03-30T13:00", "2023-03-31T12:00"]
    rows = [(0, int(dt.datetime.fromisoformat(f"{t}+00:00").timestamp()) * 1_000_000, 1.0) for t in times]
    made = made_of([{"over": "1 month", "take": "count"}])
    assert (
        run(made, rows[2:], states=states_of(run(made, rows[:2])))["w0"].to_pylist()
        == run(made, rows)["w0"].to_pylist()[2:]
        == [2]
    )


def test_a_day_has_24_hours_where_the_clock_changes():
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((dt.date(2026, 3, 29), 23), (dt.date(2026, 10, 25), 25)):
        begin, end = (dt.datetime(*d.timetuple()[:3], tzinfo=berlin) for d in (day, day + dt.timedelta(1)))
        assert (end.astimezone(dt.UTC) - begin.astimezone(dt.UTC)) == dt.timedelta(hours=hours)
        first = int(begin.timestamp()) * 1_000_000 - 2 * DAY
        rows = [(0, first + h * HOUR, 1.0) for h in range(120)]
        frames = [{"over": "1 day"}, {"over": "1 day", "tile": "day"}, {"over": "1 day", "tile": "hour", "current": True}]
        found = run(made_of([{"take": "count", **frame} for frame in frames]), rows)
        assert [set(found[f"w{n}"].to_pylist()[24:]) for n in range(3)] == [{24.0}] * 3


def test_two_rows_of_one_time_are_refused():
    rows = [(7, 5, 1.0), (7, 5, 2.0)]
    with pytest.raises(
        DataError,
        match=r"two rows of k 7 have the same t \(1970-01-01 00:00:00.000005\+00:00\), so their order is undefined; name a column",
    ):
        run(made_of([{"over": "1 row", "take": "last"}]), rows)
    with pytest.raises(DataError, match="two rows of k 7 have the same t"):
        run(made_of([{"over": "1 row", "take": "last"}]), rows, [1])
