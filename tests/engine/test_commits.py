"""Records of commits outlive Delta's log; a commit that was never checked is never restored."""

import datetime as dt
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_log import age
from keyfold.conf.use_case import parse_conf
from keyfold.engine.commit_records import RECORDS
from keyfold.engine.commits import Commit, CommitLog
from keyfold.engine.session import temporary_settings
from keyfold.engine.tables import Table, Tables
from keyfold.errors import DataError, PromiseError
from keyfold.feature_store import table as feature_table
from keyfold.ingestion.job import ingest, undo
from keyfold.runtime.account import Job
from keyfold.runtime.run import Run
from keyfold.scoring.key_check import check_keys

FILES = {"a": ["1,2026-01-05", "2,2026-01-06"], "b": ["3,2026-02-05"], "c": ["4,2026-02-06"]}
WINDOW = {"sum": {"windowed": {"input_col": "id", "by": [], "over": "all", "take": "sum"}}}


@pytest.fixture
def ingested(spark, home, tmp_path):
    """Writes files and ingests their folder; the run. None removes a file."""

    def ingested(features=None, **files):
        (tmp_path / "in").mkdir(exist_ok=True)
        for name, lines in files.items():
            path = tmp_path / "in" / f"{name}.csv"
            path.unlink() if lines is None else path.write_text("\n".join(["id,day", *lines, ""]))
        data = {"source": str(tmp_path / "in"), "columns": {"id": "bigint", "day": "date"}, "key": ["id"], "max_quarantine": 1}
        conf = parse_conf({"name": "t", "data": data | {"time": "day", "period": "month"}, "features": features or {}})
        run = Run(conf, spark)
        ingest(run)
        return run

    return ingested


def rows(run):
    return sorted((row.id, row.keyfold_period) for row in run.rows.read().collect())


def test_ingest_knows_its_files_after_the_log_was_cleaned(ingested, spark):
    first = ingested(**FILES)
    version = first.rows.version()
    age(first.rows)
    age(Tables(spark, first.rows.path.parents[2]).table(RECORDS))
    again = ingested()
    assert (again.jobs[0].status, again.rows.version()) == ("done before", version)
    assert again.rows.unique(["id"]) and rows(again) == sorted((int(n[0]), n[2:9]) for f in FILES.values() for n in f)
    assert again.rows.read(version.version).count() == 4, "what is pinned can be read"
    before = rows(again)
    with pytest.raises(DataError, match=r"period 2026-02 must be read again, and `.*/b.csv`, which has rows of it, is missing"):
        ingested(b=None, d=["5,2026-02-07"])
    assert rows(first) == before
    changed = ingested(d=None, c=["6,2026-03-06"], b=FILES["b"])
    assert changed.jobs[0].counts["read"] == 2, "a has no row of a period that is read again"
    assert rows(changed) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02"), (6, "2026-03")]
    spark.sql(f"DELETE FROM {first.rows.at} WHERE id = 1")
    age(first.rows)
    assert rows(ingested()) == rows(changed), "a lost period is read again"
    assert ingested().jobs[0].status == "done before"


@pytest.mark.slow
def test_vacuum_after_the_log_was_cleaned_changes_nothing(ingested, spark):
    """Rows, quarantine and records; afterwards only what is new is read, and a line that was quarantined is not quarantined twice."""
    first = ingested(a=FILES["a"], b=["x,2026-02-05", "3,2026-02-06"])
    second = ingested(c=["4,2026-02-07"])
    tables = [second.rows, second.quarantine, second.table(RECORDS)]
    for table in tables:
        age(table)
    with temporary_settings(spark, {"spark.databricks.delta.retentionDurationCheck.enabled": "false"}):
        for table in tables:
            spark.sql(f"VACUUM {table.at} RETAIN 0 HOURS")
    before = [table.version() for table in tables]
    again = ingested()
    assert (again.jobs[0].status, [table.version() for table in tables]) == ("done before", before)
    assert rows(again) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02"), (4, "2026-02")]
    assert first.quarantine.read().count() == 2, "the line of b, in the run that read it first and in the one that read it again"
    later = ingested(d=["5,2026-03-01"])
    assert (later.jobs[0].counts["read"], rows(later)[-1]) == (1, (5, "2026-03"))
    assert first.quarantine.version() == before[1]


def test_ingest_reads_periods_again_that_others_changed(ingested, spark, capsys):
    """Only the periods in which a value differs; also where the log is cleaned, and has times of its own; where a file is gone, a sentence."""
    first = ingested(**FILES)
    for table in (first.rows, first.table(RECORDS)):
        spark.sql(f"ALTER TABLE {table.at} SET TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true')")
    before, first_run = first.rows.read().sort("id").collect(), first.jobs[0].run_id
    spark.sql(f"UPDATE {first.rows.at} SET day = date'2026-02-07' WHERE id = 3")
    capsys.readouterr()
    second = ingested()
    assert second.jobs[0].counts["read"] == 2, "January is as it was"
    assert "rows of period 2026-02 in `t.rows` were changed, or may have been changed, by others" in capsys.readouterr().err
    found = second.rows.read().sort("id").collect()
    assert [row[:3] for row in found] == [row[:3] for row in before]
    assert [row.keyfold_run == first_run for row in found] == [True, True, False, False]
    assert ingested().jobs[0].status == "done before"
    spark.sql(f"MERGE INTO {first.rows.at} t USING (SELECT 1L id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET id = 10")
    age(first.rows)
    with pytest.raises(DataError, match="period 2026-01, whose rows were or may have been changed by others, must be"):
        ingested(a=None)
    assert [row.id for row in first.rows.read().sort("id").collect()] == [2, 3, 4, 10]
    assert ingested(a=FILES["a"]).jobs[0].status == "committed"
    assert [row[:3] for row in first.rows.read().sort("id").collect()] == [row[:3] for row in before]
    latest = first.rows.history(1)[0].version
    spark.sql(f"UPDATE {first.rows.at} SET id = id + 100")
    spark.sql(f"RESTORE {first.rows.at} TO VERSION AS OF {latest}")
    assert ingested().jobs[0].status == "done before", "the rows are those that were ingested"


def test_undo_after_a_commit_that_was_put_back(ingested, spark, monkeypatch):
    """The newest ingest is the newest whose rows stayed, and undo brings back what it replaced, as long as Delta has it."""
    first = ingested(a=FILES["a"], b=FILES["b"])
    age(first.rows)
    second = ingested(c=FILES["c"])
    with monkeypatch.context() as wrong:
        wrong.setattr(Table, "_check_rows", lambda *_: refuse())
        with pytest.raises(DataError):
            ingested(d=["5,2026-02-08"])
    assert rows(first) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02"), (4, "2026-02")]
    undo(Run(second.conf, spark))
    assert rows(first) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02")]
    with monkeypatch.context() as wrong:
        wrong.setattr(Table, "_check_rows", lambda *_: refuse())
        with pytest.raises(DataError):
            ingested()
    assert rows(first) == [(1, "2026-01"), (2, "2026-01"), (3, "2026-02")], "the former rows are those after the undo"
    assert ingested().jobs[0].counts["read"] == 3 and len(rows(first)) == 5
    age(first.rows)
    with pytest.raises(DataError, match="is gone: Delta's log was cleaned up to version"):
        undo(Run(second.conf, spark))
    assert len(rows(first)) == 5


def test_rows_of_unknown_commits_are_not_replaced(ingested, spark):
    """Without records, as in tables of earlier releases, rows whose keys no file has are not replaced."""
    first = ingested(**FILES)
    before = rows(first)
    shutil.rmtree(first.rows.path.parents[1] / "keyfold/commits")
    age(first.rows)
    assert not first.rows.unique(["id"])
    with pytest.raises(DataError, match="has 1 rows of period 2026-02 whose keys are in no file"):
        ingested(b=None)
    assert rows(first) == before
    whole = ingested(b=FILES["b"])
    assert whole.jobs[0].counts == {"read": 4, "kept": 4, "quarantined": 0} and rows(whole) == before
    assert ingested().jobs[0].status == "done before"
    # A commit of another that the log no longer tells of.
    spark.sql(f"INSERT INTO {first.rows.at} SELECT * FROM {first.rows.at} WHERE id = 4")
    age(first.rows)
    first.jobs.append(Job("score", run_id="r"))
    pinned = first.rows.version()
    february = first.rows.read(pinned.version).where("keyfold_period = '2026-02'")
    found = check_keys(first, first.jobs[-1], february, pinned, "2026-02")
    assert (found.read, found.keys, found.refused) == (3, 2, 2), "the copies are seen"
    quarantined = first.quarantine.version()
    check_keys(first, first.jobs[-1], february, pinned, "2026-02")
    assert first.quarantine.version() == quarantined, "and are put aside once"


def test_windows_are_computed_again_if_others_changed_rows(ingested, spark):
    def sums(run):
        feature_table.update_feature_table(run)
        return [row["sum"] for row in run.featured.read().sort("id").collect()], run.featured.version()

    first = ingested(WINDOW, **FILES)
    with first.job("features"):
        values, version = sums(first)
        age(first.rows), age(first.featured)
        assert sums(first) == (values, version), "a log that is gone changes nothing"
        spark.sql(f"UPDATE {first.rows.at} SET id = 10 WHERE id = 2")
        updated = sums(first)
        assert updated[0] != values and len(updated[0]) == 4
        spark.sql(f"RESTORE {first.rows.at} TO VERSION AS OF {first.rows.history()[1].version}")
        assert sums(first)[0] == values
        spark.sql(f"UPDATE {first.featured.at} SET sum = 0")
        assert sums(first)[0] == values


def replace(table, period, run_id, value, check=None):
    frame = table.spark.createDataFrame([(value, period, run_id)], "x int, period string, run_id string")
    table.replace(frame, "period", {period: 1}, run_id=run_id, check=check, recorded=True)


def refuse():
    raise DataError("no")


def end():
    raise KeyboardInterrupt


def test_a_failed_commit_restores_the_last_checked_one(spark, tmp_path):
    table = Tables(spark, tmp_path).table("a.b")
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
        found = {row.period: (row.x, row.run_id) for row in table.read().collect()}
        assert found == {"april": (1, "first of april"), "may": (3, "second of may")}
    # The run itself, once it was checked, is a predecessor like any other.
    replace(table, "april", "killed", 6)
    age(table)
    with pytest.raises(PromiseError):
        table.replace(table.read().where("false"), "period", {"april": 1}, run_id="killed")
    assert sorted(row.x for row in table.read().collect()) == [3, 6]


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
