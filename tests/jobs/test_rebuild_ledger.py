"""Which commits the ledger lacks, and the rows for them."""

import datetime as dt
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.engine.commits import Commit
from keyfold.errors import DataError
from keyfold.jobs import rebuild_ledger

AT = dt.datetime(2026, 1, 1)
RUNS = st.lists(st.tuples(st.sampled_from(["ingest", "score", "images", None]), st.sampled_from("abcd"), st.booleans()))


def table(commits, *, exists=True):
    def frame(_):
        raise DataError("the version is gone")

    return SimpleNamespace(exists=lambda: exists, commits=lambda: commits, frame=frame)


@settings(max_examples=40)
@given(RUNS)
def test_runs_whose_rows_were_put_back_have_no_commit(runs):
    """Each run commits once; `True`: its rows are put back by the next commit."""
    history, kept = [], []
    for number, (job, letter, put_back) in enumerate(runs):
        run_id = f"{letter}{number}"
        metadata = {"job": job, "run_id": run_id} if job else {}
        history.append(Commit(len(history), 1, metadata, AT))
        if put_back and job:
            history.append(Commit(len(history), 1, {"put_back": run_id}, AT))
        elif job:
            kept.append(run_id)
    commits = [*rebuild_ledger._standing_commits(table(history[::-1]))]
    assert [commit.metadata["run_id"] for commit in commits] == kept[::-1]
    assert [*rebuild_ledger._standing_commits(table(history, exists=False))] == []


def test_a_row_has_what_the_commit_records_also_if_its_version_is_gone():
    metadata = {"job": "score", "run_id": "r", "period": ["2026-02", "2026-01"], "counts": {"read": 9, "quarantined": 2}}
    row = rebuild_ledger._row("shop", table([]), Commit(3, 7, metadata, AT))
    assert (row["name"], row["job"], row["run_id"], row["period"]) == ("shop", "score", "r", "2026-01,2026-02")
    assert (row["rows_read"], row["rows_kept"], row["rows_scored"], row["rows_quarantined"]) == (9, None, None, 2)
    assert (row["status"], row["started_at"]) == ("committed", AT)
    ingested = Commit(0, 5, {"job": "ingest", "run_id": "i", "keyfold_period": ["2026-01"], "counts": {"read": 6, "kept": 5}}, AT)
    assert rebuild_ledger._row("shop", table([]), ingested)["rows_kept"] == 5
