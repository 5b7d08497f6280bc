"""Windows over rows (series, microseconds, x): what tests of windows begin with."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from keyfold.core.names import STATE
from keyfold.features.kinds.windowed import Windowed
from keyfold.windows.frame_statistics import DAY
from keyfold.windows.series import STATE_TYPE, SeriesDefinition, window_batches

HOUR = DAY // 24


def kind(name, **conf):
    more = {"share": {"value": 2.0}, "ewm": {"alpha": 0.3}}.get(conf["take"], {})
    return Windowed.model_validate({"input_col": "x", "by": "k", "column": name, **more, **conf})


def series_of(confs):
    kinds = [kind(f"w{i}", **conf) for i, conf in enumerate(confs)]
    inputs = list(dict.fromkeys((k.input_col, k.value) for k in kinds))
    return SeriesDefinition(["k"], "t", [], inputs, [k.window(inputs) for k in kinds])


def batch(definition, rows, states=None):
    """Rows (k, micros, x) in order; `states` of series come before their first."""
    lines = [((k, 0, 0), k, None, None, s) for k, s in (states or {}).items() if any(r[0] == k for r in rows)]
    lines += [((k, 1, at), k, at, x, None) for k, at, x in rows]
    lines.sort(key=lambda line: line[0])
    ks, ats, xs, state = (list(c) for c in zip(*(line[1:] for line in lines), strict=True))
    columns = [pa.array(ks, pa.int64()), pa.array(ats, pa.timestamp("us", "UTC")), pa.array(xs, pa.float64())]
    states_ = [pa.array(state, STATE_TYPE)] if states else []
    return pa.RecordBatch.from_arrays([*columns, *states_], ["k", "t", "x", *([STATE] if states else [])])


def run(definition, rows, cuts=(), states=None):
    """The table of the kernel, over batches that are cut at these places."""
    whole = batch(definition, rows, states)
    places = sorted({0, whole.num_rows, *(c % (whole.num_rows + 1) for c in cuts)})
    parts = [whole.slice(a, b - a) for a, b in pairwise(places)] or [whole]
    return pa.Table.from_batches(list(window_batches(definition, parts)))


def states_of(table, before=None):
    ended = zip(table["k"].to_pylist(), table[STATE].to_pylist(), strict=True)
    return (before or {}) | {k: s for k, s in ended if s is not None}


def same_bits(a, b):
    return len(a) == len(b) and all(
        np.array_equal(*(np.array(t[c].to_pylist(), float).view(np.int64) for t in (a, b))) for c in a.column_names if c[0] == "w"
    )


TAKES = ["count", "sum", "mean", "min", "max", "std", "share", "slope", "ewm", "first", "last", "lag", "difference", "return"]
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
ALL_WINDOWS = series_of(CONFS)
SOME_WINDOWS = st.sampled_from([series_of(CONFS[part::8]) for part in range(8)])
VALUES = st.sampled_from([None, 0.1, 0.2, 0.7, 1e16, -1e16, 2.0, 2.0, 3.0, -0.5])
SERIES = st.lists(st.tuples(st.integers(0, 60), VALUES), max_size=14, unique_by=lambda row: row[0])
ROWS = st.lists(SERIES, min_size=1, max_size=4).map(
    lambda many: sorted((k, hour * HOUR, x) for k, one in enumerate(many) for hour, x in one)
)
