"""Killed processes, full disks, races and bad rows: each key has one outcome, and the period is the old one or the new one.

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
from pyspark.sql import functions as F

from keyfold.cli.error_messages import as_keyfold_error
from keyfold.conf.use_case import parse_conf
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

LONG = os.environ.get("KEYFOLD_FAULTS") == "long"
KEYS = 1_000_000 if LONG else 20_000
POISON = 100  # one row in 100 cannot be scored
MARCH, APRIL = "2026-03", "2026-04"
ONE = """
import sys
from keyfold.conf.use_case import load_conf
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.engine.session import session

spark = session("fault")
for path in sys.argv[1:]:
    run = Run(load_conf(path), spark, "2026-04")
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
        "data": {"table": "faults.rows", "key": ["id"], "time": "seen", "period": "month", "label": "y", "positive": True},
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
    return pa.table({"id": ids, "seen": seen, "x": x, "c": letters, "y": label})


@pytest.fixture(scope="module")
def scored_home(spark, tmp_path_factory, made_state):
    """A champion, March, and April, in which one row in a hundred cannot be scored; both scored without a fault."""
    home = made_state(tmp_path_factory.mktemp("faults"))
    former = os.environ.get("KEYFOLD_HOME")
    os.environ["KEYFOLD_HOME"] = str(home)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    mlflow.set_tracking_uri(None)
    run = Run(parse_conf(raw()), spark)
    for table in (month(1, 600, poison=False), month(3, 1000, poison=False), month(4, KEYS, poison=True)):
        rows = spark.createDataFrame(table).repartition(8).selectExpr("*", "date_format(seen, 'yyyy-MM') keyfold_period")
        rows.write.format("delta").mode("append").partitionBy("keyfold_period").save(str(run.rows.path))
    promote_or_keep(run, train(run))
    for period in (MARCH, APRIL):
        score(Run(parse_conf(raw("undisturbed.predictions")), spark, period))
    yield home
    mlflow.set_tracking_uri(None)
    os.environ.pop("KEYFOLD_HOME") if former is None else os.environ.update(KEYFOLD_HOME=former)


def values(spark, into, period=APRIL, version=None):
    """All columns of a period except those of the attempt."""
    rows = Run(parse_conf(raw(into)), spark).predictions.read(version).where(f"period = '{period}'")
    return rows.drop("scored_at", "run_id").toArrow().sort_by("id")


def ready(spark, into, path, *, holds):
    """A predictions table with March, and an older April if `holds`; writes a conf to `path` for another process."""
    path.write_text(yaml.safe_dump(raw(into)))
    run = Run(parse_conf(raw(into)), spark, MARCH)
    march = Run(parse_conf(raw("undisturbed.predictions")), spark).predictions.read().where(f"period = '{MARCH}'")
    older = march.withColumns({"period": F.lit(APRIL), "run_id": F.lit("older")})
    rows = march.union(older) if holds else march
    rows.write.format("delta").partitionBy("period").save(str(run.predictions.path))
    return run.predictions


def environment(home, **more):
    """The environment of another process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "SPARK_SUBMIT", "PYSPARK_SUBMIT"))}
    quick = {"SPARK_SUBMIT_OPTS": "" if LONG else "-XX:TieredStopAtLevel=1"}
    return inherited | quick | {"KEYFOLD_HOME": str(home), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | more


def started(home, *paths, **more):
    command = [sys.executable, "-c", ONE, *map(str, paths)]
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


JOBS, ROUNDS = ([2, 4], 25) if LONG else ([2], 3)


@pytest.fixture(scope="module")
def racers(scored_home, tmp_path_factory):
    """By their number, processes that score the same confs at the same time, and then each one more conf, to be killed."""
    started_jobs = {}
    for jobs in JOBS:
        folder = tmp_path_factory.mktemp(f"race_{jobs}")
        paths = [folder / f"{number}.yaml" for number in range(ROUNDS)]
        for number, path in enumerate(paths):
            path.write_text(yaml.safe_dump(raw(f"race_{jobs}_{number}.predictions")))
        started_jobs[jobs] = folder, [started(scored_home, *paths, folder / f"killed_{i}.yaml") for i in range(jobs)]
        for i in range(jobs):
            (folder / f"killed_{i}.yaml").write_text(yaml.safe_dump(raw(f"killed_{i}.predictions")))
    yield started_jobs
    for _, racing in started_jobs.values():
        for process in racing:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def drivers(scored_home, racers, tmp_path):
    """A process that waits to score a conf; one of the racers if it still runs."""

    def driver(number):
        folder, racing = racers[2]
        if number < 2 and racing[number].poll() is None and (folder / f"{ROUNDS - 1}.yaml.go").exists():
            return racing[number], folder / f"killed_{number}.yaml"
        path = tmp_path / "conf.yaml"
        path.write_text(yaml.safe_dump(raw(f"killed_{number}.predictions")))
        # By default a small table is read by one task per core, and few files are written.
        submit = "--master local[4] --conf spark.sql.files.minPartitionNum=8 pyspark-shell"
        return started(scored_home, path, PYSPARK_SUBMIT_ARGS=submit), path

    return driver


@pytest.mark.parametrize("jobs", JOBS)
def test_jobs_that_race_commit_once(spark, scored_home, racers, jobs):
    folder, racing = racers[jobs]
    for number in range(ROUNDS):
        path = folder / f"{number}.yaml"
        wait_for(racing[0], lambda: len(list(folder.glob(f"{path.name}.*.ready"))) == jobs)  # noqa: B023
        Path(f"{path}.go").touch()
    outcomes = list(zip(*([process.stdout.readline().strip() for _ in range(ROUNDS)] for process in racing), strict=True))
    assert [sorted(of) for of in outcomes] == [["committed"] + ["done before"] * (jobs - 1)] * ROUNDS
    for number in range(ROUNDS):
        run = Run(parse_conf(raw(f"race_{jobs}_{number}.predictions")), spark)
        assert len([*run.predictions.commits()]) == 1
        assert values(spark, run.predictions.name).equals(values(spark, "undisturbed.predictions"))


# A driver is killed once so many files of a pattern exist: data files, or the entry of the commit.
MOMENTS = [("*.parquet", 2, False), ("_delta_log/*.json", 1, True)]
if LONG:
    MOMENTS = [("*.parquet", n, holds) for n in (1, 2, 3, 4) for holds in (False, True)]
    MOMENTS += [("_delta_log/*.json", 1, holds) for holds in (False, True)] * 6


@pytest.mark.parametrize("moment", range(len(MOMENTS)))
def test_a_killed_driver_leaves_the_old_period_or_the_new_one(spark, scored_home, drivers, moment):
    (pattern, nth, holds), into = MOMENTS[moment], f"killed_{moment}.predictions"
    process, path = drivers(moment)
    table = ready(spark, into, path, holds=holds)
    before, files = values(spark, into), set(table.path.rglob(pattern))
    Path(f"{path}.go").touch()
    wait_for(process, lambda: len(set(table.path.rglob(pattern)) - files) >= nth)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wanted = values(spark, "undisturbed.predictions")
    after = values(spark, into)
    assert after.equals(before) or after.equals(wanted)
    run = Run(parse_conf(raw(into)), spark, APRIL)
    score(run)
    assert values(spark, into).equals(wanted), "one row per key, with the values of the undisturbed run"
    assert run.jobs[-1].status == ("done before" if after.equals(wanted) else "committed")
    assert values(spark, into, MARCH).equals(values(spark, "undisturbed.predictions", MARCH))


def test_only_the_bad_rows_are_quarantined(spark, scored_home):
    rows = values(spark, "undisturbed.predictions").to_pylist()
    assert {row["id"] for row in rows if row["status"] == "quarantined"} == set(range(0, KEYS, POISON))
    assert len({row["reason"] for row in rows}) == 2 and len(rows) == KEYS


def test_killed_executors_lose_and_double_nothing(spark, scored_home, spark_home, tmp_path):
    """An executor is killed during a task, with speculation; the job finishes by itself."""
    for number in range(20 if LONG else 1):
        into = f"executors_{number}.predictions"
        path = tmp_path / f"{number}.yaml"
        table = ready(spark, into, path, holds=False)
        Path(f"{path}.go").touch()
        submit = "--master local-cluster[2,1,1024] --conf spark.speculation=true --conf spark.speculation.quantile=0.5"
        submit += " pyspark-shell" if LONG else " --conf spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1 pyspark-shell"
        process = started(scored_home, path, SPARK_HOME=str(spark_home), PYSPARK_SUBMIT_ARGS=submit)
        files = set(table.path.rglob("*.parquet"))
        wait_for(process, lambda: set(table.path.rglob("*.parquet")) - files)  # noqa: B023
        executors = [*executors_of(process.pid)]
        assert len(executors) == 2
        os.kill(executors[number % 2], signal.SIGKILL)
        stdout, _ = process.communicate(timeout=300)
        assert stdout == "committed\n", process.stderr_file.read_text()[-3000:]
        assert values(spark, into).equals(values(spark, "undisturbed.predictions"))


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
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let a test mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_reported_and_the_old_version_can_be_read(spark, scored_home, tmp_path, small_disk):
    table = ready(spark, "full.predictions", tmp_path / "full.yaml", holds=True)
    before = values(spark, "full.predictions")
    free = os.statvfs(small_disk)
    for level in range(10) if LONG else (0, 3):
        left = 4096 * (1 + 4 * level)  # too little for the new period
        with (small_disk / "ballast").open("wb") as file:
            file.write(bytes(free.f_bavail * free.f_bsize - left))
        with pytest.raises(Exception) as raised:
            score(Run(parse_conf(raw("full.predictions")), spark, APRIL))
        sentence = str(as_keyfold_error(raised.value))
        assert sentence == "the disk is full; the tables are as they were before", raised.value
        (small_disk / "ballast").unlink()
        assert values(spark, "full.predictions").equals(before)
    score(Run(parse_conf(raw("full.predictions")), spark, APRIL))
    assert values(spark, "full.predictions").equals(values(spark, "undisturbed.predictions"))
    assert table.exists()


def test_the_ledger_is_rebuilt_from_the_history(spark, scored_home):
    from keyfold.jobs.rebuild_ledger import rebuild_ledger

    for expected in (2, 0):
        run = Run(parse_conf(raw("undisturbed.predictions")), spark)
        rebuild_ledger(run)
        run.close()
        assert run.jobs[-1].counts == {"kept": expected}
    rows = (
        run.table("keyfold.runs").read().where("job = 'score' and message like 'rebuilt%'").sort("period").toArrow().to_pylist()
    )
    assert [(r["period"], r["rows_read"], r["rows_scored"], r["rows_quarantined"], r["status"]) for r in rows] == [
        (MARCH, 1000, 1000, None, "committed"), (APRIL, KEYS, KEYS - KEYS // POISON, KEYS // POISON, "committed"),
    ]  # fmt: skip


@pytest.mark.skipif(not LONG, reason="long form only")
def test_small_files_and_a_skewed_partition(spark, scored_home, tmp_path):
    """10,000 input files become few output files; times are printed, also with half of the rows in one input file."""
    seconds, files = {}, {}
    frame = spark.createDataFrame(month(4, KEYS, poison=False)).drop("y").selectExpr("*", "cast(null as boolean) y")
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
