"""Sorted batches: disorder is refused, and runs hold whole groups, whatever the batches."""

import math
import re
from functools import partial
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.engine import sorted_batches
from keyfold.engine.sorted_batches import InOrder, last_rows, map_runs, same_as_before, whole_groups
from keyfold.errors import PromiseError

KEYS = st.lists(st.one_of(st.none(), st.sampled_from("abc")), max_size=30).map(lambda keys: sorted(keys, key=lambda k: k or ""))
CUTS = st.lists(st.integers(0, 30), max_size=5)


def batches_of(keys, cuts):
    rows = pa.record_batch({"k": pa.array(keys, pa.string()), "n": pa.array(range(len(keys)), pa.int64())})
    places = sorted({0, len(keys), *(min(cut, len(keys)) for cut in cuts)})
    return [rows.slice(a, b - a) for a, b in pairwise(places)] or [rows]


def last_of(batches):
    return [row for batch in batches for row in batch.to_pylist()]


@given(KEYS, CUTS, st.integers(1, 8))
def test_runs_hold_whole_groups_and_all_rows(keys, cuts, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_batches, "_RUN", most)
        runs, sizes = [], []
        for run in whole_groups(iter(batches_of(keys, cuts)), ["k"]):
            parts = [*run]
            runs.append(last_of(parts))
            sizes.append(max(part.num_rows for part in parts))
            run.close()
    assert [row["n"] for run in runs for row in run] == [*range(len(keys))]
    groups = [{row["k"] for row in run} for run in runs if run]
    assert all(a.isdisjoint(b) for a, b in pairwise(groups))
    ends = [run[-1]["n"] for run in runs if run]
    found = map_runs(partial(last_rows, ["k"], ["n"]), whole_groups(iter(batches_of(keys, cuts)), ["k"]))
    lasts = [i for i, key in enumerate(keys) if keys[i + 1 : i + 2] != [key]]
    assert [row["n"] for row in last_of(found)] == lasts
    assert {*ends} <= {*lasts}


def test_one_long_group_is_read_a_batch_at_a_time_and_the_next_run_begins_when_it_is_closed(monkeypatch):
    monkeypatch.setattr(sorted_batches, "_RUN", 10)
    read = []

    def batches():
        for number in range(100):
            read.append(number)
            yield pa.record_batch({"k": [number // 99] * 5, "n": [number] * 5})

    runs = whole_groups(batches(), ["k"])
    long = next(runs)
    parts = iter(long)
    next(parts), next(parts)
    assert read == [0, 1, 2]
    assert sum(part.num_rows for part in parts) == 99 * 5 - 15
    long.close()
    assert [last_of(run)[-1]["n"] for run in runs] == [99]


ORDERS = [
    (pa.array([None, "a", "B"]), False), (pa.array([None, "B", "a"]), True), (pa.array([1.0, None]), False),
    (pa.array([-math.inf, 0.0, -0.0, math.inf, math.nan, math.nan]), True), (pa.array([math.nan, 1.0]), False),
    (pa.array([False, True, True]), True), (pa.array([True, False]), False), (pa.array([b"\x7f", b"\x80"]), True),
]  # fmt: skip


@pytest.mark.parametrize(("column", "ordered"), ORDERS)
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_rows_out_of_order_are_refused_in_and_between_batches(column, ordered, cut):
    rows = pa.record_batch({"by": pa.array([7] * len(column)), "at": column})
    batches = [rows.slice(0, cut), rows.slice(cut)]
    proven = InOrder(lambda given: given, ["by", "at"])(iter(batches))
    if ordered:
        assert sum(batch.num_rows for batch in proven) == len(column)
        return
    with pytest.raises(PromiseError, match=re.escape("rows must be in the order of by, at, and are not")):
        list(proven)


def test_null_and_nan_and_zeros_are_equal_to_themselves():
    column = pa.array([None, None, math.nan, math.nan, 0.0, -0.0, 1.0])
    assert same_as_before([column], 7).tolist() == [True, False, True, False, True, False]
    assert same_as_before([], 3).tolist() == [True, True]
