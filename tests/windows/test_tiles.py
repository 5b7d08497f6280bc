"""Windows by tiles: against the definition, and the same bits in all batches."""

import re
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.features.kinds.windowed import parse_span
from keyfold.windows.frame_statistics import DAY
from window_rows import HOUR, VALUES, kind, run, same_bits, series_of, states_of


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
    table = run(series_of(TILED), rows) if rows else None
    for i, (k, at, _) in enumerate(rows):
        series = [(t, x) for key, t, x in rows if key == k]
        here = [t for t, _ in series].index(at)
        for n, conf in enumerate(TILED):
            parts, got = by_tiles(conf, series, here), table[f"w{n}"][i].as_py()
            if conf["take"] == "share":
                parts = [[float(x == 2.0) for x in part] for part in parts]
            xs = [x for part in parts for x in part]
            if not xs:
                assert got == (0 if conf["take"] == "count" else None)
            elif conf["take"] != "std":
                total = added(parts)
                expected = {"count": len(xs), "sum": total, "min": min(xs), "max": max(xs)}.get(conf["take"], total / len(xs))
                assert (got, conf, rows) == (expected, conf, rows)
            elif max(map(abs, xs)) < 1e15:
                assert got == (pytest.approx(np.std(xs, ddof=1), rel=1e-9, abs=1e-9) if len(xs) > 1 else None)


@settings(max_examples=15)
@given(MINUTES, st.lists(st.integers(0, 80), max_size=6), st.lists(st.integers(-24, 60), max_size=4))
def test_batches_and_earlier_runs_change_no_bit_of_tiles(rows, cuts, hours):
    definition = series_of([*TILED, {"take": "sum", "over": "1 month", "tile": "day"}])
    if not rows:
        return
    whole = run(definition, rows)
    assert same_bits(whole, run(definition, rows, cuts))
    known, parts = {}, []
    for start, end in pairwise([-(10**15), *sorted({h * HOUR for h in hours}), 10**15]):
        part = [r for r in rows if start < r[1] <= end]
        if part:
            parts.append(run(definition, part, cuts, known))
            known = states_of(parts[-1], known)
    together = pa.concat_tables(parts).sort_by([("k", "ascending"), ("t", "ascending")])
    assert same_bits(whole, together)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"take": "slope", "over": "9 days"}, "`tile` is for take: count, sum, mean, min, max, std, share (got slope)"),
        ({"take": "sum", "over": "9 rows"}, r"`tile` is for frames of a day or more (got over: 9 rows)"),
        ({"take": "sum", "over": "23 hours"}, r"`tile` is for frames of a day or more (got over: 23 hours)"),
        ({"take": "sum", "over": "9 days", "lag": "2 rows"}, r"`tile` needs a lag of time (got 2 rows)"),
    ],
)
def test_wrong_options_of_tiles_are_refused(conf, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kind("w", tile="day", **conf)
