"""Keys are proven unique by their hashes, or not at all."""

import pytest

from keyfold.engine.key_counts import count_keys

pytestmark = pytest.mark.both_engines


def test_unique_keys_are_proven_by_their_hashes(engine):
    rows = engine.rows([(1, "a", 0.0), (1, "b", -0.0), (2, None, 1.0)], "a int, b string, c double")
    assert count_keys(rows, ["a", "b"], 3) == (3, 1, True)
    assert not count_keys(rows, ["a"], 3).unique
    assert not count_keys(rows, ["c"], 3).unique, "0.0 and -0.0 are one key"
    assert not count_keys(rows, ["a", "b"], 10**9).unique, "too many to tell"
