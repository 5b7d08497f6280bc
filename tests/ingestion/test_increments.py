"""Later ingests: what is read again after files, tables and logs changed."""

import shutil

import pytest
from deltalake import DeltaTable, write_deltalake

from delta_log import age, delete, restore, set_properties, update, vacuum
from folder_ingest import FILES, folder_ingest, kept
from keyfold.engine.columns import col, lit
from keyfold.engine.commit_records import RECORDS
from keyfold.engine.tables import Table
from keyfold.errors import DataError
from keyfold.ingestion.job import undo
from keyfold.runtime.account import Job
from keyfold.runtime.run import Run
from keyfold.scoring.key_check import check_keys


@pytest.fixture
def ingested(engine, home, tmp_path):
    return folder_ingest(engine, tmp_path)


def rows(run):
    """The rows, sorted by id."""
    return run.rows.frame().sort(["id"]).rows()


def days(run):
    return [(row["id"], row["day"], row["keyfold_period"]) for row in rows(run)]


@pytest.mark.both_engines
def test_ingest_knows_its_files_and_changes_by_others_after_the_log_was_cleaned(ingested):
    first = ingested(**FILES)
    before = days(first)
    version = first.rows.version()
    age(first.rows)
    age(first.table(RECORDS))
    again = ingested()
    assert (again.jobs[0].status, again.rows.version()) == ("done before", version)
    assert first.rows.frame(version.version).count() == 4, "what is pinned can be read"
    update(first.rows, {"day": "date'2026-02-07'"}, "id = 3")
    assert (ingested().jobs[0].counts["read"], days(first)) == (2, before), "January is as it was"


def test_lost_files_and_periods_are_found_after_the_log_was_cleaned(ingested):
    first = ingested(**FILES)
    age(first.rows)
    age(first.table(RECORDS))
    again = ingested()
    assert again.rows.unique(["id"]) and kept(again) == sorted((int(n[0]), n[2:9]) for f in FILES.values() for n in f)
    before = kept(again)
    with pytest.raises(DataError, match=r"period 2026-02 must be read again, and `.*/b.csv`, which has rows of it, is missing"):
        ingested(b=None, d=["5,2026-02-07"])
    assert kept(first) == before
    changed = ingested(d=None, c=["6,2026-03-06"], b=FILES["b"])
    assert changed.jobs[0].counts["read"] == 2, "a has no row of a period that is read again"
    assert kept(changed) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02"), (6, "2026-03")]
    delete(first.rows, "id = 1")
    age(first.rows)
    assert kept(ingested()) == kept(changed), "a lost period is read again"
    assert ingested().jobs[0].status == "done before"


def test_vacuum_after_the_log_was_cleaned_changes_nothing(ingested):
    """Rows, quarantine and records; afterwards only what is new is read, and a line that was quarantined is not quarantined twice."""
    first = ingested(a=FILES["a"], b=["x,2026-02-05", "3,2026-02-06"])
    second = ingested(c=["4,2026-02-07"])
    tables = [second.rows, second.quarantine, second.table(RECORDS)]
    for table in tables:
        age(table)
    for table in tables:
        vacuum(table)
    before = [table.version() for table in tables]
    again = ingested()
    assert (again.jobs[0].status, [table.version() for table in tables]) == ("done before", before)
    assert kept(again) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02"), (4, "2026-02")]
    assert first.quarantine.frame().count() == 2, "the line of b, in the run that read it first and in the one that read it again"
    later = ingested(d=["5,2026-03-01"])
    assert (later.jobs[0].counts["read"], kept(later)[-1]) == (1, (5, "2026-03"))
    assert first.quarantine.version() == before[1]


def test_ingest_reads_periods_again_that_others_changed(ingested, engine, capsys):
    """Only the periods in which a value differs; also where the log is cleaned, and has times of its own; where a file is gone, a sentence."""
    first = ingested(**FILES)
    if engine.name == "spark":
        for table in (first.rows, first.table(RECORDS)):
            set_properties(table, {"delta.enableInCommitTimestamps": "true"})
    before, first_run = days(first), first.jobs[0].run_id
    update(first.rows, {"day": "date'2026-02-07'"}, "id = 3")
    capsys.readouterr()
    second = ingested()
    assert second.jobs[0].counts["read"] == 2, "January is as it was"
    assert "rows of period 2026-02 in `t.rows` were changed, or may have been changed, by others" in capsys.readouterr().err
    assert days(second) == before
    assert [row["keyfold_run"] == first_run for row in rows(second)] == [True, True, False, False]
    assert ingested().jobs[0].status == "done before"
    update(first.rows, {"id": "10"}, "id = 1")
    age(first.rows)
    with pytest.raises(DataError, match="period 2026-01, whose rows were or may have been changed by others, must be"):
        ingested(a=None)
    assert [row["id"] for row in rows(first)] == [2, 3, 4, 10]
    assert ingested(a=FILES["a"]).jobs[0].status == "committed"
    assert days(first) == before
    latest = first.rows.history(1)[0].version
    update(first.rows, {"id": "id + 100"})
    restore(first.rows, latest)
    assert ingested().jobs[0].status == "done before", "the rows are those that were ingested"


def test_undo_after_a_commit_that_was_put_back(ingested, engine, monkeypatch):
    """The newest ingest is the newest whose rows stayed, and undo brings back what it replaced, as long as Delta has it."""
    first = ingested(a=FILES["a"], b=FILES["b"])
    age(first.rows)
    second = ingested(c=FILES["c"])
    with monkeypatch.context() as wrong:
        wrong.setattr(Table, "_check_rows", lambda *_: refuse())
        with pytest.raises(DataError):
            ingested(d=["5,2026-02-08"])
    assert kept(first) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02"), (4, "2026-02")]
    undo(Run(second.conf, engine))
    assert kept(first) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02")]
    with monkeypatch.context() as wrong:
        wrong.setattr(Table, "_check_rows", lambda *_: refuse())
        with pytest.raises(DataError):
            ingested()
    assert kept(first) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02")], "the former rows are those after the undo"
    assert ingested().jobs[0].counts["read"] == 3 and len(kept(first)) == 5
    age(first.rows)
    with pytest.raises(DataError, match="is gone: Delta's log was cleaned up to version"):
        undo(Run(second.conf, engine))
    assert len(kept(first)) == 5


def test_rows_of_unknown_commits_are_not_replaced(ingested):
    """Without records, as in tables of earlier releases, rows whose keys no file has are not replaced."""
    first = ingested(**FILES)
    before = kept(first)
    shutil.rmtree(first.rows.path.parents[1] / "keyfold/commits")
    age(first.rows)
    assert not first.rows.unique(["id"])
    with pytest.raises(DataError, match="has 1 rows of period 2026-02 whose keys are in no file"):
        ingested(b=None)
    assert kept(first) == before
    whole = ingested(b=FILES["b"])
    assert whole.jobs[0].counts == {"read": 4, "kept": 4, "quarantined": 0} and kept(whole) == before
    assert ingested().jobs[0].status == "done before"
    # A commit of another that the log no longer tells of.
    write_deltalake(first.rows.path, DeltaTable(first.rows.path).to_pyarrow_table(filters=[("id", "=", 4)]), mode="append")
    age(first.rows)
    first.jobs.append(Job("score", run_id="r"))
    pinned = first.rows.version()
    february = first.rows.frame(pinned.version).where(col("keyfold_period") == lit("2026-02"))
    found = check_keys(first, first.jobs[-1], february, pinned, "2026-02")
    assert (found.read, found.keys, found.refused) == (3, 2, 2), "the copies are seen"
    quarantined = first.quarantine.version()
    check_keys(first, first.jobs[-1], february, pinned, "2026-02")
    assert first.quarantine.version() == quarantined, "and are put aside once"


def refuse():
    raise DataError("no")
