"""The window kernel: against another engine and against plain loops over the definition."""

import datetime as dt
import math
import sqlite3
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.features.kinds.windowed import parse_span
from keyfold.windows.frame_statistics import DAY, Frame, SeriesRows, Span
from keyfold.windows.kernel import ComputedWindows, Window
from window_rows import ALL_WINDOWS, CONFS, HOUR, ROWS, run, same_bits, series_of, states_of

EXACT = ("count", "sum", "mean", "min", "max", "share", "ewm", "first", "last", "lag", "difference", "return")


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
    return statistic(conf["take"], frame, at, over, conf.get("min_count"))


def statistic(take, frame, at, over, least):
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


@settings(max_examples=25)
@given(ROWS)
def test_the_kernel_is_the_definition(rows):
    table = run(ALL_WINDOWS, rows) if rows else None
    for i, (k, at, _) in enumerate(rows):
        series = [(t, x) for key, t, x in rows if key == k]
        here = [t for t, _ in series].index(at)
        for n, conf in enumerate(CONFS):
            expected, got = plain(conf, series, here), table[f"w{n}"][i].as_py()
            if expected is None or conf["take"] in EXACT:
                assert (got, conf, rows) == (expected, conf, rows)
            elif max(abs(x or 0) for _, x in series) < 1e15:
                assert got == pytest.approx(expected, rel=1e-6, abs=1e-6), (conf, rows)


@given(st.integers(1, 10**10), st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=9))
def test_rows_of_one_time_have_no_slope(since, xs):
    """Whatever the rounding of their times' mean, seen from a later row."""
    window = Window("w", "x", "slope", Frame(Span(rows=9)))
    values = {"x": np.array([np.nan if x is None else x for x in [*xs, 1.0, 2.0]])}
    times = np.array([*[0] * len(xs), since, 2 * since])
    rows = SeriesRows(np.zeros(len(times), np.int64), times, values, np.ones(len(times), bool), {})
    table = ComputedWindows([window], rows).column(window)
    assert np.isnan(table[:-1]).all()
    assert np.isnan(table[-1]) == all(x is None for x in xs[-8:])


def test_times_of_all_ages_side_by_side():
    rng = np.random.default_rng(1)
    near = [(k, int(h) * HOUR, float(h)) for k in range(1, 30) for h in np.unique(rng.integers(0, 90, 9))]
    far = [(0, -719_000 * DAY, 1.0), (0, 2_932_000 * DAY, 2.0)]
    definition = series_of(CONFS)
    assert same_bits(run(definition, [*far, *near]).slice(2), run(definition, near))


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
    table = run(series_of(confs), rows, [500, 1700, 1701])
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE r (k INTEGER, t INTEGER, x REAL)")
    base.executemany("INSERT INTO r VALUES (?, ?, ?)", rows)
    columns = [f"{take} OVER (PARTITION BY k ORDER BY t {frame})" for frame in frames for take in takes.values()]
    expected = base.execute(f"SELECT {', '.join(columns)} FROM r ORDER BY k, t").fetchall()
    for n, column in enumerate(zip(*expected, strict=True)):
        expected = [math.nan if x is None else x for x in column]
        got = table[f"w{n}"].to_numpy()
        assert np.allclose(got, expected, rtol=1e-12, atol=1e-12, equal_nan=True), (confs[n], columns[n])


def test_months_are_those_of_the_calendar():
    days = ["2024-01-31", "2024-02-28", "2024-02-29", "2024-03-30", "2024-03-31", "2024-05-31"]
    at = [int(dt.datetime.fromisoformat(d).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000 for d in days]
    before = Span(months=1).before(np.array(at)).astype("M8[us]").astype("M8[D]").astype(str).tolist()
    assert before == ["2023-12-31", "2024-01-28", "2024-01-29", "2024-02-29", "2024-02-29", "2024-04-30"]
    rows = [(0, t, float(i)) for i, t in enumerate(at)]
    definition = series_of([{"over": "1 month", "take": "count"}, {"over": "1 month", "take": "count", "current": True}])
    whole = run(definition, rows)
    assert whole["w0"].to_pylist() == [0, 1, 2, 1, 2, 0]
    assert whole["w1"].to_pylist() == [1, 2, 3, 1, 2, 1]
    last = states_of(run(definition, rows[:4]))
    assert same_bits(whole.slice(4), run(definition, rows[4:], states=last))
    # The later row, whose month is as short, begins its frame before that of the earlier one.
    times = ["2023-02-28T12:30", "2023-03-30T13:00", "2023-03-31T12:00"]
    rows = [(0, int(dt.datetime.fromisoformat(f"{t}+00:00").timestamp()) * 1_000_000, 1.0) for t in times]
    definition = series_of([{"over": "1 month", "take": "count"}])
    assert (
        run(definition, rows[2:], states=states_of(run(definition, rows[:2])))["w0"].to_pylist()
        == run(definition, rows)["w0"].to_pylist()[2:]
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
        table = run(series_of([{"take": "count", **frame} for frame in frames]), rows)
        assert [set(table[f"w{n}"].to_pylist()[24:]) for n in range(3)] == [{24.0}] * 3
