"""Windows over batches: cuts and earlier runs change no bit."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.errors import DataError
from window_rows import CONFS, HOUR, ROWS, SOME_WINDOWS, run, same_bits, series_of, states_of


@settings(max_examples=15)
@given(SOME_WINDOWS, ROWS, st.lists(st.integers(0, 60), max_size=6), st.lists(st.integers(0, 61), max_size=4))
def test_batches_and_earlier_runs_change_no_bit(definition, rows, cuts, days):
    if not rows:
        return
    whole = run(definition, rows)
    assert same_bits(whole, run(definition, rows, cuts))
    known, parts = {}, []
    for start, end in pairwise([-1, *sorted(set(days)), 99]):
        part = [r for r in rows if start < r[1] / HOUR <= end]
        if part:
            parts.append(run(definition, part, cuts, known))
            known = states_of(parts[-1], known)
    together = pa.concat_tables(parts).sort_by([("k", "ascending"), ("t", "ascending")])
    assert same_bits(whole, together)
    assert {k: str(s) for k, s in known.items()} == {k: str(s) for k, s in states_of(whole).items()}


def test_a_window_by_itself_keeps_what_it_needs():
    rows = [(0, h * HOUR, x) for h, x in enumerate([0.1, None, 0.7, 2.0, -0.5, 0.2, 3.0, 0.3])]
    for number, conf in enumerate(CONFS):
        definition = series_of([conf])
        whole = run(definition, rows)
        for cut in {1 + number % 7, 1 + number * 3 % 7}:
            first = run(definition, rows[:cut])
            assert same_bits(whole, pa.concat_tables([first, run(definition, rows[cut:], states=states_of(first))])), (conf, cut)


def test_two_rows_of_one_time_are_refused():
    rows = [(7, 5, 1.0), (7, 5, 2.0)]
    with pytest.raises(
        DataError,
        match=r"two rows of k 7 have the same t \(1970-01-01 00:00:00.000005\+00:00\), so their order is undefined; name a column",
    ):
        run(series_of([{"over": "1 row", "take": "last"}]), rows)
    with pytest.raises(DataError, match="two rows of k 7 have the same t"):
        run(series_of([{"over": "1 row", "take": "last"}]), rows, [1])
