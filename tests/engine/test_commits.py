"""Commits that fail, and logs of which Delta has removed a part."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_log import age
from keyfold.engine.commits import Commit, CommitLog
from keyfold.engine.tables import Tables
from keyfold.errors import DataError, PromiseError


def replace(table, period, run_id, value, check=None):
    frame = table.engine.rows([(value, period, run_id)], "x int, period string, run_id string")
    table.replace(frame, "period", {period: 1}, run_id=run_id, check=check, recorded=True)


def refuse():
    raise DataError("no")


def end():
    raise KeyboardInterrupt


def test_a_failed_commit_restores_the_last_checked_one(engine, tmp_path):
    table = Tables(engine, tmp_path).table("a.b")
    for period in ("april", "may"):
        replace(table, period, f"first of {period}", 1)
    with pytest.raises(KeyboardInterrupt):
        replace(table, "april", "killed", 2, end)
    replace(table, "may", "second of may", 3)
    with pytest.raises(KeyboardInterrupt):
        replace(table, "april", "also killed", 4, end)
    for run_id in ("killed", "another"):
        with pytest.raises(DataError):
            replace(table, "april", run_id, 5, refuse)
        found = {row["period"]: (row["x"], row["run_id"]) for row in table.frame().rows()}
        assert found == {"april": (1, "first of april"), "may": (3, "second of may")}
    # The run itself, once it was checked, is a predecessor like any other.
    replace(table, "april", "killed", 6)
    age(table)
    with pytest.raises(PromiseError):
        table.replace(table.frame().head(0), "period", {"april": 1}, run_id="killed")
    assert sorted(row["x"] for row in table.frame().rows()) == [3, 6]


COMMITS = st.lists(st.tuples(st.sampled_from(["WRITE", "OPTIMIZE", "UPDATE"]), st.sets(st.sampled_from("abc"))), min_size=1)


@given(COMMITS, st.sets(st.integers(0, 8)))
def test_unknown_commits_may_have_changed_every_row(commits, forgotten):
    at = dt.datetime(2026, 1, 1)
    made = [
        Commit(v, 0, {"p": [*values], "unique": ["k"]} if how == "WRITE" else {}, at, how)
        for v, (how, values) in enumerate(commits)
    ]
    *_, latest = whole = CommitLog(made)
    known = CommitLog([c for c in made if c.version not in forgotten or c.version == whole.latest])
    for log in (whole, known):
        changed = log.last_change()
        assert changed >= whole.last_change(), "never an older version than the true one"
        assert not whole.changed_since(changed)
        truly, found = whole.last_of("p", "abc"), log.last_of("p", "abc")
        for value in "abc":
            there = [c.version if isinstance(c, Commit) else c for c in (truly[value], found[value])]
            assert there[1] >= there[0]
            assert log is known or all(not c.touches("p", value) for c in made[there[1] + 1 :])
    assert latest.version == 0
    assert whole.complete and (not known.complete or len([*known]) == len(made))
    assert known.proves(["k"]) <= whole.proves(["k"])
    assert not known.proves(["k"]) or known.complete
