"""The feature table: the same in whatever order rows arrive, and the same as one row at a time without Spark."""

import datetime as dt
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from delta_log import age, restore, update
from folder_ingest import FILES, WINDOW, folder_ingest
from keyfold.conf.use_case import load_conf, parse_conf
from keyfold.core.names import STATE
from keyfold.engine.columns import col, lit
from keyfold.errors import ConfError, DataError
from keyfold.feature_store import table as feature_table
from keyfold.feature_store.table import offer_view, update_feature_table
from keyfold.feature_store.window_columns import add_windows, latest_states
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.windows.series import States
from places import ROOT
from sections import data_and_label

DATA = os.environ.get("KEYFOLD_TEST_DATA")
DAY = dt.date(2026, 3, 1)
WINDOWS = {
    "mean_2": {"over": "2 rows", "take": "mean"}, "week": {"over": "7 days", "take": "std", "lag": "1 day"},
    "so_far": {"over": "all", "take": "sum"}, "share": {"over": "3 days", "take": "share", "input_col": "c", "value": "b"},
    "month": {"over": "1 month", "take": "slope", "current": True}, "ewm": {"over": "all", "take": "ewm", "alpha": 0.2},
    "log_2": {"over": "2 rows", "take": "mean", "input_col": {"log": "x", "plus": 1}}, "first_2": {"over": "all", "take": "first", "min_count": 2},
}  # fmt: skip


def conf(source, windows=WINDOWS, **data):
    made = {name: {"windowed": {"input_col": "x"} | w} for name, w in windows.items()}
    data = {"source": str(source), "columns": {"k": "string", "day": "date", "x": "double", "c": "string", "y": "boolean"}} | data
    data |= {"key": ["k", "day"], "time": "day", "period": "day", "label": "y"}
    return {"name": "seen", **data_and_label(data), "features": made}


def line(rng, k, day):
    x = rng.choice(["", "0.1", "0.7", "1e16", "-1e16", f"{rng.random()}"])
    return f"{k},{day},{x},{rng.choice(['a', 'b', ''])},{rng.choice(['true', 'false'])}"


def write(folder, name, lines):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(["k,day,x,c,y", *lines, ""]))


def table(run, rows=None):
    """The bits of the feature table (or of such rows), in order, and the last states of its series."""
    rows = run.featured.frame() if rows is None else rows
    found = rows.drop("keyfold_run", STATE).sort(["k", "day"]).rows()
    last = latest_states(rows, run.conf.windows).sort(["k"]).rows()
    return [repr(row) for row in [*found, *last]]


def at_once(run):
    """What the table must be: all rows through the kernel in one go."""
    return table(run, add_windows(run.conf.windows, run.rows.frame().drop("keyfold_run")).persist())


def featured(engine, made):
    run = Run(parse_conf(made), engine)
    ingest(run)
    with run.job("features"):
        update_feature_table(run)
    return run


def test_rows_in_any_order_of_arrival_give_the_table_of_all_at_once(engine, home, tmp_path):
    rng, folder = random.Random(4), tmp_path / "in"
    days = [DAY + dt.timedelta(d) for d in (0, 1, 2)]
    lines = {day: [line(rng, k, day) for k in "abcdef" if rng.random() < 0.6] for day in days}
    # One day is late, and then changes.
    steps = [(0, lines[days[0]]), (2, lines[days[2]]), (1, lines[days[1]]), (2, lines[days[2]][1:])]
    computed = []
    for number, some in steps:
        write(folder, f"{days[number]}.csv", some)
        run = featured(engine, conf(folder))
        commit = next(run.featured.commits())
        computed.append(sorted(p[-5:] for p, n in commit.metadata["keyfold_period"].items() if n))
    assert computed == [
        ["03-01"], ["03-03"], ["03-02", "03-03"],  # from the states after 03-01
        ["03-01", "03-02", "03-03"],  # no run ended before 03-03: from the beginning
    ]  # fmt: skip
    assert table(run) == at_once(run)
    assert run.featured.frame().select(["keyfold_period"]).distinct().count() == 3
    version = run.featured.version()
    with run.job("features"):
        update_feature_table(run)
    assert run.featured.version() == version
    # Another definition is another table, all of it.
    other = Run(parse_conf(conf(folder, WINDOWS | {"more": {"over": "2 rows", "take": "max"}})), engine)
    with other.job("features"):
        update_feature_table(other)
    assert table(other) == at_once(other)
    assert {*other.featured.frame().columns} - {*run.featured.frame(version.version).columns} == {"more"}


def test_rows_later_than_lateness_change_nothing_and_are_reported(engine, home, tmp_path, capsys):
    rng, folder = random.Random(5), tmp_path / "in"
    days = [DAY + dt.timedelta(d) for d in (0, 1, 2)]
    lines = {day: [line(rng, k, day) for k in "abc"] for day in days}
    made = conf(folder, lateness="1 day")
    for number in (0, 2):
        write(folder, f"{number}.csv", lines[days[number]])
        before = table(featured(engine, made))
    write(folder, "1.csv", lines[days[1]])  # in time
    write(folder, "3.csv", [line(rng, "d", days[0])])
    run = featured(engine, made)
    assert [p[-5:] for p in next(run.featured.commits()).metadata["keyfold_period"]] == ["03-02", "03-03"]
    assert (
        "2026-03-01: changed (+1 rows) more than 1 day late (data.lateness), so `seen.features` keeps" in capsys.readouterr().err
    )
    after = table(run)
    assert after[:1] == before[:1] and len(after) == 9 + 3
    # Another definition is another table, with all that has come.
    assert (
        len(table(featured(engine, conf(folder, WINDOWS | {"more": {"over": "1 row", "take": "max"}}, lateness="1 day"))))
        == 10 + 4
    )


KILLED = """
import sys
from keyfold.conf.use_case import load_conf
import keyfold
from keyfold.feature_store.table import update_feature_table
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
run = Run(load_conf(sys.argv[1]), {engine})
ingest(run)
with run.job("features"):
    update_feature_table(run)
"""


def killed_at(command, folder, pattern):
    """Runs a command and kills it, with all that it started, where a new file of such a name is in the folder."""
    there = set(folder.rglob(pattern))
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not set(folder.rglob(pattern)) - there:
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it wrote"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


DIES = """
import os, signal, sys
from keyfold.engine import deltalake_store
write = deltalake_store._Rows._batches

def write_and_die(self):
    yield from write(self)
    if len(self.schema) > 9:  # the feature table, whose rows are written and not committed
        os.kill(os.getpid(), signal.SIGKILL)

deltalake_store._Rows._batches = write_and_die
"""


def test_a_killed_job_leaves_the_table_as_it_was_and_the_next_one_completes_it(embedded, home, tmp_path):
    rng, folder = random.Random(5), tmp_path / "in"
    write(folder, "a.csv", [line(rng, f"k{i % 50}", DAY + dt.timedelta(i // 50)) for i in range(100)])
    run = featured(embedded, conf(folder))
    before = table(run)
    write(folder, "b.csv", [line(rng, f"k{i % 50}", DAY + dt.timedelta(2 + i // 50)) for i in range(100)])
    ingest(Run(parse_conf(conf(folder)), embedded))
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(conf(folder)))
    program = DIES + KILLED.format(engine="keyfold.embedded()")
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "conf.yaml")], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert table(run) == before
    with run.job("features"):
        update_feature_table(run)
    found = table(run)
    assert found == at_once(run) and len(found) == 200 + 50


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pattern"), [("rows", "*.parquet"), ("featured", "*.parquet"), ("featured", "0*.json")])
def test_a_killed_job_over_windows_and_a_view(spark, home, tmp_path, name, pattern):
    """While rows come, while files are written, and right after the commit; the rows are taken in by the killed job itself."""
    rng, folder, seen = random.Random(6), tmp_path / "in", tmp_path / "seen"
    usage = conf(seen, {"calls": {"over": "3 rows", "take": "sum", "current": True}})
    usage = usage | {"name": "usage", "view": {"owner": "nobody"}}
    both = conf(folder, views=[{"table": "usage.features"}])
    for number in (0, 1):
        for into in (folder, seen):
            days = [DAY + dt.timedelta(2 * number + i // 50) for i in range(100)]
            write(into, f"{number}.csv", [line(rng, f"k{i % 50}", day) for i, day in enumerate(days)])
        offered = featured(spark, usage)
        offer_view(offered)
        if not number:
            run = featured(spark, both)
            before = table(run)
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(both))
    killed_at(
        [sys.executable, "-c", KILLED.format(engine="keyfold.session()"), str(tmp_path / "conf.yaml")],
        getattr(run, name).path,
        pattern,
    )
    assert (table(run) == before) == (pattern == "*.parquet")
    run = featured(spark, both)
    found = table(run)
    shutil.rmtree(run.featured.path)
    assert found == table(featured(spark, both)) and len(found) == 200 + 50


def test_spark_takes_one_exchange_and_one_sort_and_gives_the_bits_of_the_embedded_engine(spark, embedded, home, tmp_path):
    rng, folder = random.Random(1), tmp_path / "in"
    write(folder, "a.csv", [line(rng, f"k{i % 7}", DAY + dt.timedelta(i // 7)) for i in range(210)])
    featured(embedded, conf(folder))
    run = Run(parse_conf(conf(folder)), spark)
    made, rows = run.conf.windows, run.rows.read().drop("keyfold_period", "keyfold_run")
    result = add_windows(made, rows)
    plan = result._jdf.queryExecution().executedPlan().toString()
    plan = plan.partition("Initial Plan")[2] or plan
    assert len(re.findall(r"\bExchange\b", plan)) == 1 and len(re.findall(r"\bSort\b", plan)) == 1
    own = [c for c in run.featured.frame().columns if c not in ("keyfold_run", STATE, "keyfold_period")]
    bits = {repr(row) for row in run.featured.read().select(*own).collect()}
    assert len(bits) == 210
    for partitions, batch in ((1, "3"), (7, "1"), (3, "10000")):
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", batch)
        try:
            found = add_windows(made, rows.repartition(partitions)).select(*own).collect()
        finally:
            spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "20000")
        assert {repr(row) for row in found} == bits


def test_a_row_alone_has_the_windows_of_the_batch(engine, home, tmp_path):
    rng, folder = random.Random(2), tmp_path / "in"
    days = [DAY + dt.timedelta(d) for d in (0, 1, 2, 5, 40)]
    write(folder, "a.csv", [line(rng, k, day) for day in days[:3] for k in "abc"])
    run = featured(engine, conf(folder))
    made = run.conf.windows
    states = States(made, latest_states(run.featured.frame(), made).to_arrow())
    write(folder, "b.csv", [line(rng, k, day) for day in days[3:] for k in "abd"])
    run = featured(engine, conf(folder))
    later = run.featured.frame().where(col("day") > lit(days[2])).sort(["day", "k"]).to_arrow()
    raw = later.select(["k", "day", "x", "c"])
    for i in range(raw.num_rows):
        row = raw.slice(i, 1)
        got, wanted = states.windows(row), later.slice(i, 1)
        for name in WINDOWS:
            assert repr(got[name][0].as_py()) == repr(wanted[name][0].as_py()), (name, row.to_pylist())
        states.update(row)
    with pytest.raises(DataError, match="windows: the rows have no column `x`"):
        states.windows(raw.drop_columns(["x"]))
    with pytest.raises(DataError, match="`day` is NULL in 1 rows"):
        states.windows(pa.table({"k": ["a"], "day": pa.nulls(1, pa.date32()), "x": [1.0], "c": ["a"]}))


def test_a_row_without_a_time_is_refused(engine, home):
    made = conf("")
    del made["data"]["source"]
    run = Run(parse_conf(made), engine)
    rows = engine.rows(
        [("a", DAY, 0.5, "c", True), ("b", None, 0.5, "c", True)], "k string, day date, x double, c string, y boolean"
    )
    run.rows.append(rows)
    with run.job("features"), pytest.raises(DataError, match=r"`day` is NULL in 1 rows of `seen.rows`"):
        update_feature_table(run)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA is not set")
def test_prices_are_replayed_day_by_day(engine, home):
    source = Path(str(DATA), "stocks_daily", "stockdata2.csv")
    made = load_conf(ROOT / "conf" / "stocks.yaml", [f"data.source={source}", "split.time={test: 2014-01-01}"])
    run = Run(made, engine)
    ingest(run)
    with run.job("features"):
        update_feature_table(run)
    all_ = run.featured.frame().drop("keyfold_period", "keyfold_run", STATE).sort(["Date", "stock"]).to_arrow()
    days = sorted(set(all_["Date"].to_pylist()))[-250:]
    raw = all_.select(["Date", "stock", "value", "change"])
    definition = made.windows
    states = States(definition)
    states.update(raw.filter(pa.compute.less(raw["Date"], days[0])))
    names = [w.name for w in definition.windows]
    for day in days:
        today = pa.compute.equal(raw["Date"], day)
        replayed = states.windows(raw.filter(today)).sort_by("stock")
        for name in names:
            pair = (t[name].to_numpy().view(np.int64).tolist() for t in (replayed, all_.filter(today)))
            assert len({tuple(bits) for bits in pair}) == 1, (day, name)
        states.update(raw.filter(today))
    assert len(days) == 250


def test_impossible_windows_are_refused_with_a_sentence(engine, home, tmp_path):
    def said(**window):
        with pytest.raises((ConfError, DataError)) as error:
            parse_conf(conf("x.csv", {"w": {"over": "2 rows", "take": "mean"} | window}))
        return str(error.value).partition("\n  ")[2]

    assert said(over="0 rows").startswith(
        "features.w.windowed.over must be like `7 days`, `3 months`, `5 rows` or `all` (got '0 rows')"
    )
    assert said(over="-2 days").startswith(
        "features.w.windowed.over must be like `7 days`, `3 months`, `5 rows` or `all` (got '-2 days')"
    )
    assert said(take="share") == "features.w.windowed: `value` is for take: share, which needs it (got take: share)"
    assert (
        said(take="lag", over="all") == "features.w.windowed: take: lag needs a frame that ends, such as `over: 5 rows` (got all)"
    )
    with pytest.raises(ConfError, match=r"features\.v is by c, ordered by day, and features\.w is by k, ordered by day"):
        parse_conf(conf("x.csv", {"w": {"over": "2 rows", "take": "mean"}, "v": {"over": "2 rows", "take": "mean", "by": "c"}}))
    folder = tmp_path / "in"
    write(folder, "a.csv", ["a,2026-03-01,1,b,true"])
    with pytest.raises(
        DataError, match=r"the windows of the conf \(input_col\): table `seen.rows` has no column `xs` \(did you mean `x`\?\)"
    ):
        featured(engine, conf(folder, {"w": {"over": "2 rows", "take": "mean", "input_col": "xs"}}))
    with pytest.raises(DataError, match=r"features\.c: table `seen\.rows` has a column of this name; rename the feature"):
        featured(engine, conf(folder, {"c": {"over": "2 rows", "take": "mean"}}))
    with pytest.raises(DataError, match=r"windows: input_col `c` takes bigint, double, boolean, decimal"):
        featured(engine, conf(folder, {"w": {"over": "2 rows", "take": "mean", "input_col": "c"}}))


@pytest.fixture
def ingested(engine, home, tmp_path):
    return folder_ingest(engine, tmp_path)


def test_windows_are_computed_again_if_others_changed_rows(ingested):
    def sums(run):
        feature_table.update_feature_table(run)
        return [row["sum"] for row in run.featured.frame().sort(["id"]).rows()], run.featured.version()

    first = ingested(WINDOW, **FILES)
    with first.job("features"):
        values, version = sums(first)
        age(first.rows), age(first.featured)
        assert sums(first) == (values, version), "a log that is gone changes nothing"
        update(first.rows, {"id": "10"}, "id = 2")
        updated = sums(first)
        assert updated[0] != values and len(updated[0]) == 4
        restore(first.rows, first.rows.history()[1].version)
        assert sums(first)[0] == values
        update(first.featured, {"sum": "0"})
        assert sums(first)[0] == values
