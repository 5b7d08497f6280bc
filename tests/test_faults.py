"""Killed processes, full disks, races and bad rows: each key has one outcome, and the period is the old one or the new one.

Processes of the embedded engine race and are killed; Spark loses an executor, and then its driver. The rest on Spark is slow.
KEYFOLD_FAULTS=long (./tests/run faults) runs the long form, with a million keys and more moments.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pytest
import yaml
from deltalake import write_deltalake

from keyfold.cli.error_messages import as_keyfold_error
from keyfold.conf.use_case import parse_conf
from keyfold.engine.columns import col, lit
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

LONG = os.environ.get("KEYFOLD_FAULTS") == "long"
KEYS = 1_000_000 if LONG else 20_000
POISON = 100  # one row in 100 cannot be scored
MARCH, APRIL = "2026-03", "2026-04"
ENGINES = ["embedded", "spark_engine"]  # on Spark with the slow tests
ONE = """
import sys
from keyfold.conf.use_case import load_conf
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.engine.engine import EmbeddedEngine
from keyfold.engine.session import session

engine = EmbeddedEngine() if sys.argv[1] == "embedded" else session("fault")
for path in sys.argv[2:]:
    run = Run(load_conf(path), engine, "2026-04")
    open(path + f".{__import__('os').getpid()}.ready", "w").close()
    while not __import__("pathlib").Path(path + ".go").exists():
        __import__("time").sleep(0.01)
    score(run)
    print(run.jobs[-1].status, flush=True)
    run.close()
"""


def raw(into="faults.predictions"):
    return {
        "name": "faults",
        "label": {"column": "y", "positive": True},
        "data": {"table": "faults.rows", "key": ["id"], "time": "seen", "period": "month"},
        "split": {"allow": ["x"]},
        "features": {"x": {"numeric": {"input_col": "x"}}, "c": {"one_hot": {"input_col": "c", "handle_unseen": "error"}}},
        "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "score": {"into": into},
    }


def month(number, keys, *, poison):
    draw = np.random.default_rng(number)
    ids, x = np.arange(keys), draw.normal(size=keys)
    letters = np.array(["a", "b", "c"])[draw.integers(0, 3, keys)].astype(object)
    if poison:
        letters[::POISON] = "poison"
    seen = pa.array(np.full(keys, f"2026-0{number}-01", "datetime64[us]"), pa.timestamp("us", "UTC"))
    label = pa.array(x > 0) if number == 1 else pa.nulls(keys, pa.bool_())
    period = [f"2026-0{number}"] * keys
    return pa.table({"id": ids, "seen": seen, "x": x, "c": letters.astype(str), "y": label, "keyfold_period": period})


@pytest.fixture(scope="module")
def scored_home(embedded, tmp_path_factory, made_state):
    """A champion, March, and April, in which one row in a hundred cannot be scored; both scored without a fault."""
    home = made_state(tmp_path_factory.mktemp("faults"))
    former = os.environ.get("KEYFOLD_HOME")
    os.environ["KEYFOLD_HOME"] = str(home)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    mlflow.set_tracking_uri(None)
    run = Run(parse_conf(raw()), embedded)
    for rows in (month(1, 600, poison=False), month(3, 1000, poison=False), month(4, KEYS, poison=True)):
        for i in range(8):  # files, of which Spark's tasks read one each
            part = rows.slice(i * len(rows) // 8, len(rows) // 8)
            write_deltalake(run.rows.path, part, mode="append", partition_by=["keyfold_period"])
    promote_or_keep(run, train(run))
    for period in (MARCH, APRIL):
        score(Run(parse_conf(raw("undisturbed.predictions")), embedded, period))
    yield home
    mlflow.set_tracking_uri(None)
    os.environ.pop("KEYFOLD_HOME") if former is None else os.environ.update(KEYFOLD_HOME=former)


def values(embedded, into, period=APRIL):
    """All columns of a period except those of the attempt."""
    rows = Run(parse_conf(raw(into)), embedded).predictions.frame().where(col("period") == lit(period))
    return rows.drop("scored_at", "run_id").to_arrow().sort_by("id")


def ready(embedded, into, path, *, holds):
    """A predictions table with March, and an older April if `holds`; writes a conf to `path` for another process."""
    path.write_text(yaml.safe_dump(raw(into)))
    run = Run(parse_conf(raw(into)), embedded, MARCH)
    undisturbed = Run(parse_conf(raw("undisturbed.predictions")), embedded).predictions.frame()
    march = undisturbed.where(col("period") == lit(MARCH))
    older = march.with_columns({"period": lit(APRIL), "run_id": lit("older")})
    rows = march.union(older) if holds else march
    write_deltalake(run.predictions.path, rows.to_arrow(), partition_by=["period"])
    return run.predictions


def environment(home, **more):
    """The environment of another process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "SPARK_SUBMIT", "PYSPARK_SUBMIT"))}
    quick = {"SPARK_SUBMIT_OPTS": "" if LONG else "-XX:TieredStopAtLevel=1"}
    return inherited | quick | {"KEYFOLD_HOME": str(home), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | more


def started(home, engine, *paths, **more):
    """A process that scores confs, one after the other, each as soon as a file `<path>.go` is there."""
    command = [sys.executable, "-c", ONE, engine, *map(str, paths)]
    with tempfile.NamedTemporaryFile(dir=home, prefix="stderr-", delete=False) as stderr:
        process = subprocess.Popen(
            command, env=environment(home, **more), start_new_session=True, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    process.stderr_file = Path(stderr.name)
    return process


def wait_for(process, condition):
    while process.poll() is None and not condition():
        time.sleep(0.002)
    if process.poll() is not None and not condition():
        pytest.fail(f"the process ended early: {process.stderr_file.read_text()[-3000:]}")


def end(process):
    """Kills it, and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


JOBS, ROUNDS = ([2, 4], 25) if LONG else ([2], 3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("jobs", JOBS)
def test_jobs_that_race_commit_once(embedded, scored_home, tmp_path, engine, jobs):
    paths = [tmp_path / f"{number}.yaml" for number in range(ROUNDS)]
    names = [f"race_{engine}_{jobs}_{number}.predictions" for number in range(ROUNDS)]
    for path, name in zip(paths, names, strict=True):
        path.write_text(yaml.safe_dump(raw(name)))
    racing = [started(scored_home, engine, *paths) for _ in range(jobs)]
    try:
        for path in paths:
            wait_for(racing[0], lambda: len(list(tmp_path.glob(f"{path.name}.*.ready"))) == jobs)  # noqa: B023
            Path(f"{path}.go").touch()
        outcomes = list(zip(*([process.stdout.readline().strip() for _ in range(ROUNDS)] for process in racing), strict=True))
    finally:
        for process in racing:
            end(process)
    assert [sorted(of) for of in outcomes] == [["committed"] + ["done before"] * (jobs - 1)] * ROUNDS
    for name in names:
        run = Run(parse_conf(raw(name)), embedded)
        assert len([*run.predictions.commits()]) == 1
        assert values(embedded, name).equals(values(embedded, "undisturbed.predictions"))


# A driver is killed once so many files of a pattern exist: data files, or the entry of the commit.
MOMENTS = [("*.parquet", 2, False), ("_delta_log/*.json", 1, True)]
if LONG:
    MOMENTS = [("*.parquet", n, holds) for n in (1, 2, 3, 4) for holds in (False, True)]
    MOMENTS += [("_delta_log/*.json", 1, holds) for holds in (False, True)] * 6


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("moment", range(len(MOMENTS)))
def test_a_killed_driver_leaves_the_old_period_or_the_new_one(embedded, scored_home, tmp_path, engine, moment):
    (pattern, nth, holds), into, path = MOMENTS[moment], f"killed_{engine}_{moment}.predictions", tmp_path / "conf.yaml"
    # By default a small table is read by one task per core, and few files are written.
    submit = "--master local[4] --conf spark.sql.files.minPartitionNum=8 pyspark-shell"
    table = ready(embedded, into, path, holds=holds)
    process = started(scored_home, engine, path, PYSPARK_SUBMIT_ARGS=submit)
    before = values(embedded, into)
    kill_driver(process, path, table, pattern, 1 if engine == "embedded" else nth)
    check_period(embedded, into, before)


def kill_driver(process, path, table, pattern, nth):
    """Lets the process score a conf, and kills it when so many files were added."""
    files = set(table.path.rglob(pattern))
    Path(f"{path}.go").touch()
    wait_for(process, lambda: len(set(table.path.rglob(pattern)) - files) >= nth)
    end(process)


def check_period(embedded, into, before):
    """The period is the old one or the new one, and another run completes it."""
    wanted, after = values(embedded, "undisturbed.predictions"), values(embedded, into)
    assert after.equals(before) or after.equals(wanted)
    run = Run(parse_conf(raw(into)), embedded, APRIL)
    score(run)
    assert values(embedded, into).equals(wanted), "one row per key, with the values of the undisturbed run"
    assert run.jobs[-1].status == ("done before" if after.equals(wanted) else "committed")
    assert values(embedded, into, MARCH).equals(values(embedded, "undisturbed.predictions", MARCH))


def test_only_the_bad_rows_are_quarantined(embedded, scored_home):
    rows = values(embedded, "undisturbed.predictions").to_pylist()
    assert {row["id"] for row in rows if row["status"] == "quarantined"} == set(range(0, KEYS, POISON))
    assert len({row["reason"] for row in rows}) == 2 and len(rows) == KEYS


@pytest.mark.parametrize("number", range(20 if LONG else 1))
def test_a_killed_executor_and_a_killed_driver_of_spark_lose_and_double_nothing(
    embedded, scored_home, spark_home, tmp_path, number
):  # fmt: skip
    """An executor is killed during a task, with speculation: the job finishes by itself. In its next job the driver is killed."""
    names = [f"{killed}_{number}.predictions" for killed in ("executor", "driver")]
    paths = [tmp_path / f"{name}.yaml" for name in names]
    tables = [ready(embedded, name, path, holds=False) for name, path in zip(names, paths, strict=True)]
    submit = "--master local-cluster[2,1,1024] --conf spark.speculation=true --conf spark.speculation.quantile=0.5"
    submit += " pyspark-shell" if LONG else " --conf spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1 pyspark-shell"
    process = started(scored_home, "spark", *paths, SPARK_HOME=str(spark_home), PYSPARK_SUBMIT_ARGS=submit)
    files = set(tables[0].path.rglob("*.parquet"))
    try:
        Path(f"{paths[0]}.go").touch()
        wait_for(process, lambda: set(tables[0].path.rglob("*.parquet")) - files)
        executors = [*executors_of(process.pid)]
        assert len(executors) == 2
        os.kill(executors[number % 2], signal.SIGKILL)
        assert process.stdout.readline() == "committed\n", process.stderr_file.read_text()[-3000:]
        assert values(embedded, names[0]).equals(values(embedded, "undisturbed.predictions"))
        kill_driver(process, paths[1], tables[1], "_delta_log/*.json" if number % 2 else "*.parquet", 1)
    finally:
        end(process)
    check_period(embedded, names[1], values(embedded, "undisturbed.predictions").slice(0, 0))


def executors_of(pid):
    """The executors below a process. Their own children are left out: after a fork they have the command line of their parent."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if b"CoarseGrainedExecutorBackend" in command_of(child):
                yield child
            else:
                yield from executors_of(child)


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def small_disk(scored_home, tmp_path):
    """A schema on a disk of 64 MB (Linux, as root)."""
    folder = scored_home / "tables" / "full"
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let a test mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_reported_and_the_old_version_can_be_read(engine, embedded, scored_home, tmp_path, small_disk):
    table = ready(embedded, "full.predictions", tmp_path / "full.yaml", holds=True)
    before = values(embedded, "full.predictions")
    free = os.statvfs(small_disk)
    for level in range(10) if LONG else (0, 3):
        left = 4096 * (1 + 4 * level)  # too little for the new period
        with (small_disk / "ballast").open("wb") as file:
            file.write(bytes(free.f_bavail * free.f_bsize - left))
        with pytest.raises(Exception) as raised:
            score(Run(parse_conf(raw("full.predictions")), engine, APRIL))
        sentence = str(as_keyfold_error(raised.value))
        assert sentence == "the disk is full; the tables are as they were before", raised.value
        (small_disk / "ballast").unlink()
        assert values(embedded, "full.predictions").equals(before)
    score(Run(parse_conf(raw("full.predictions")), engine, APRIL))
    assert values(embedded, "full.predictions").equals(values(embedded, "undisturbed.predictions"))
    assert table.exists()


def test_the_ledger_is_rebuilt_from_the_history(embedded, scored_home):
    from keyfold.jobs.rebuild_ledger import rebuild_ledger

    for expected in (2, 0):
        run = Run(parse_conf(raw("undisturbed.predictions")), embedded)
        rebuild_ledger(run)
        run.close()
        assert run.jobs[-1].counts == {"kept": expected}
    rows = run.table("keyfold.runs").frame().where(col("job") == lit("score")).sort(["period"]).rows()
    rows = [row for row in rows if (row["message"] or "").startswith("rebuilt")]
    assert [(r["period"], r["rows_read"], r["rows_scored"], r["rows_quarantined"], r["status"]) for r in rows] == [
        (MARCH, 1000, 1000, None, "committed"), (APRIL, KEYS, KEYS - KEYS // POISON, KEYS // POISON, "committed"),
    ]  # fmt: skip


@pytest.mark.skipif(not LONG, reason="long form only")
def test_small_files_and_a_skewed_partition(spark, scored_home, tmp_path):
    """10,000 input files become few output files; times are printed, also with half of the rows in one input file."""
    seconds, files = {}, {}
    frame = spark.createDataFrame(month(4, KEYS, poison=False).drop_columns("keyfold_period"))
    layouts = {
        "even": frame.repartition(8), "small": frame.repartition(10_000),
        "skewed": frame.where(f"id < {KEYS // 2}").coalesce(1).union(frame.where(f"id >= {KEYS // 2}").repartition(7)),
    }  # fmt: skip
    for name, rows in layouts.items():
        conf = raw(f"layout_{name}.predictions")
        conf["data"]["table"] = f"layouts.{name}"
        run = Run(parse_conf(conf), spark, APRIL)
        rows.write.format("delta").save(str(run.rows.path))
        score(run)
        seconds[name] = next(step.seconds for step in run.jobs[-1].steps if step.name == "predict")
        files[name] = len(run.predictions.read().inputFiles())
    print(json.dumps({"seconds": seconds, "files": files}))
    assert files["small"] <= 1.2 * files["even"]
