"""A row's fold is a pure function of its key, its group, its time or its class, in Spark and in NumPy."""

import datetime as dt
import hashlib
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from keyfold.conf.split import Split
from keyfold.core.names import FOLDS
from keyfold.engine.arrow_types import arrow_type
from keyfold.engine.columns import col, count_rows
from keyfold.engine.spark_frame import SparkFrame
from keyfold.errors import DataError
from keyfold.split.folds import Folds

pytestmark = pytest.mark.usefixtures("compiled")


def split_of(**conf):
    return Folds(Split.model_validate(conf), ["id"], "churn", "at", "y")


def folds_of(frame, **conf):
    return {row["id"]: row["fold"] for row in split_of(**conf).add(frame, "fold").select(["id", "fold"]).rows()}


def ids(engine, n, type_=None):
    return engine.frame(pa.table({"id": pa.array(range(n), type_ or pa.int64())}))


def test_folds_do_not_move(engine):
    one, other = folds_of(ids(engine, 2000)), folds_of(ids(engine, 5000))
    assert {k: other[k] for k in one} == one
    assert folds_of(ids(engine, 2000, pa.int32())) == one, "the width of an integer does not matter"
    assert split_of().numpy(pa.table({"id": range(2000)})).tolist() == [one[i] for i in range(2000)]


def test_folds_are_added_to_rows_in_their_form(engine):
    frame = ids(engine, 200)
    data = getattr(frame, "data", None)
    local = split_of().add(frame.to_arrow(), "fold").to_pylist()
    assert local == split_of().add(frame, "fold").rows()
    assert data is None or split_of().add(data, "fold").toArrow().to_pylist() == local


def test_shares_and_salts(engine):
    first, second = folds_of(ids(engine, 20000)), folds_of(ids(engine, 20000), salt="other")
    values, counts = np.unique(list(first.values()), return_counts=True)
    assert dict(zip(values, counts / 20000, strict=True)) == pytest.approx(
        {"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.01
    )
    both = sum(first[k] == second[k] == "test" for k in first) / 20000
    assert both == pytest.approx(0.01, abs=0.004), "two salts are independent"


# --- groups that are not known, and copies ---


def test_a_row_without_a_group_goes_by_its_key(engine):
    rows = [(i, None if i % 3 == 0 else i % 400, i % 2) for i in range(3000)]
    frame = engine.rows(rows, "id bigint, household bigint, country bigint")
    by = {"by": ["household", "country"]}
    alone, together, refused = (folds_of(frame, **by, null_groups=null) for null in ("own", "together", "refuse"))
    by_key = folds_of(frame)
    assert len({together[i] for i in range(0, 3000, 6)}) == 1, "NULL is a value like any other, as it was in 0.1"
    for i in range(3000):
        known = i % 3 != 0
        assert alone[i] == (together[i] if known else by_key[i]), "who has a group stays where it was"
        assert refused[i] == (together[i] if known else None)
    cut = split_of(**by)
    assert cut.columns == ["household", "country", "id"]
    parts = cut.add_part(frame, "part").where(col("household").is_null()).select(["part"]).distinct()
    assert parts.count() > 900, "and so does its part of the train fold"


def content(engine, keys, name="content_key"):
    return engine.rows(list(enumerate(keys)), f"id int, {name} string")


DIGESTS = [hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in range(200)]


def test_copies_of_a_row_have_one_fold_and_one_part(engine):
    cut = Folds(Split(folds=3), ["content_key"], "churn")
    assert cut.grouped
    keys = [f"{digest}-{n}" for digest in DIGESTS for n in (1, 2, 10)]
    found = cut.add_part(cut.add(content(engine, keys), "fold", "number"), "part").sort(["id"]).to_arrow()
    for name in ("fold", "number", "part"):
        one, two, ten = (found[name].to_pylist()[n::3] for n in range(3))
        assert one == two == ten, "a copy that comes later goes where the others are"
    assert cut.numpy(found).tolist() == found["fold"].to_pylist()
    assert set(found["fold"].to_pylist()) == set(FOLDS)
    others = [f"{DIGESTS[0]}-", f"x{DIGESTS[0]}-1", f"{DIGESTS[0].upper()}-1", "a-1", "a-2", f"{DIGESTS[0]}-1\n", None]
    plain = Folds(Split(salt="churn"), ["name"], "churn").add(content(engine, others, "name"), "fold")
    kept = cut.add(content(engine, others), "fold").sort(["id"]).to_arrow()
    assert kept["fold"].to_pylist() == [row["fold"] for row in plain.sort(["id"]).rows()], "other keys of that name are whole"
    assert cut.numpy(kept).tolist() == kept["fold"].to_pylist()


# --- time ---

TIME = {"validation": "2026-07-01", "test": "2026-09-01", "gap": "10 days"}
DAYS = {
    "2026-06-20": "train", "2026-06-21": None, "2026-06-30": None, "2026-07-01": "validation", "2026-08-21": "validation",
    "2026-08-22": None, "2026-08-31": None, "2026-09-01": "test", "2030-01-01": "test", "1900-01-01": "train", None: None,
    "2026-08-31 23:30:00": None,
}  # fmt: skip


@pytest.mark.parametrize("type_", ["date", "timestamp", "timestamp_ntz"])
def test_boundaries_in_time_and_their_gaps(engine, type_):
    at = pc.strptime(pa.array([day and (day + " 00:00:00")[:19] for day in DAYS]), "%Y-%m-%d %H:%M:%S", "us")
    found = folds_of(engine.frame(pa.table({"id": range(len(DAYS)), "at": at.cast(arrow_type(type_), safe=False)})), time=TIME)
    assert [found[i] for i in range(len(DAYS))] == list(DAYS.values())


def test_time_and_group_must_agree(engine):
    first = dt.date(2026, 6, 1)
    rows = [(i, i % 100, first + dt.timedelta(i % 120)) for i in range(3000)]
    frame = engine.rows(rows, "id bigint, person bigint, at date")
    by_time, by_group, both = (
        folds_of(frame, **conf) for conf in ({"time": TIME}, {"by": "person"}, {"time": TIME, "by": "person"})
    )
    assert both == {k: by_time[k] if by_time[k] == by_group[k] else None for k in both}
    assert {*both.values()} == {*FOLDS, None}


def test_a_time_split_needs_a_time(engine):
    with pytest.raises(DataError, match=r"split.time: column `at` takes date, timestamp, timestamp_ntz \(got string\)"):
        folds_of(engine.rows([(1, "x")], "id int, at string"), time=TIME)


# --- parts to cross-validate ---


def test_parts_cut_what_is_outside_test(engine):
    made = split_of(folds=4).add(ids(engine, 8000), "fold", "part")
    found = made.group(["fold", "part"], n=count_rows()).rows()
    assert {row["part"] for row in found if row["fold"] == "test"} == {None}
    inside = [row for row in found if row["fold"] != "test"]
    sizes = {part: sum(r["n"] for r in inside if r["part"] == part) for part in range(4)}
    assert sum(sizes.values()) == sum(r["n"] for r in inside)
    assert all(abs(size - 1800) < 200 for size in sizes.values())


# --- both forms ---

moments = st.one_of(st.none(), st.datetimes(dt.datetime(2026, 6, 1), dt.datetime(2026, 10, 1)))


@settings(max_examples=8)
@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | st.text(max_size=5), moments), min_size=1, max_size=60),
    st.sampled_from(
        [
            {},
            *({"by": ["name", "id"], "salt": "x", "null_groups": null, "folds": 3} for null in ("own", "refuse", "together")),
            {"time": TIME},
            {"time": {"test": "2026-08-01T12:30:00"}, "by": "name"},
        ]
    ),
)
def test_engines_and_numpy_give_the_same_folds(spark_engine, embedded, drawn, conf):
    table = pa.table(
        {
            "id": pa.array([row[0] for row in drawn], pa.int64()),
            "name": pa.array([row[1] for row in drawn], pa.string()),
            "at": pa.array([row[2] for row in drawn], pa.timestamp("us")),
        }
    )
    cut = split_of(**conf)
    number = "number" if cut.split.folds else None
    found, other = (
        cut.add_part(cut.add_unit(cut.add(engine.frame(table), "fold", number), "unit"), "part").to_arrow()
        for engine in (spark_engine, embedded)
    )
    assert cut.numpy(found).tolist() == found["fold"].to_pylist()
    assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, other.to_pylist()))


# --- whatever the engine does ---

FAST = "-XX:TieredStopAtLevel=1"  # as in conftest.py

SCRIPT = """
import hashlib, sys
from keyfold.engine.session import session
from keyfold.conf.split import Split
from keyfold.engine.spark_frame import SparkFrame
from keyfold.split.folds import Folds
spark = session()
rows = spark.read.parquet(sys.argv[1]).repartition(int(sys.argv[2]))
found = Folds(Split(), ["id"], "churn").add(SparkFrame(rows), "fold").select(["id", "fold"]).rows()
text = repr(sorted((r["id"], r["fold"]) for r in found))
open(sys.argv[3], "w").write(hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def digest_here(spark, tmp_path_factory):
    """Rows in a file, and the digest of their folds by NumPy."""
    folder = tmp_path_factory.mktemp("folds")
    ids = [7 * i * i - 3 for i in range(3000)]
    pq.write_table(pa.table({"id": ids}), folder / "rows.parquet")
    found = split_of().numpy(pa.table({"id": ids})).tolist()
    return folder, ids, digest(zip(ids, found, strict=True))


def digest(pairs):
    return hashlib.sha256(repr(sorted(pairs)).encode()).hexdigest()


def test_order_partitions_growth_and_source_move_no_row(spark, digest_here, tmp_path):
    folder, ids, wanted = digest_here
    frame = spark.read.parquet(str(folder / "rows.parquet"))
    frame.write.format("delta").save(str(tmp_path / "delta"))
    frame.write.option("header", True).csv(str(tmp_path / "csv"))
    doubled = frame.unionByName(spark.range(10**9, 10**9 + 3000)).orderBy(F.rand(seed=1))
    frames = [frame.orderBy(F.rand(seed=0)), *(frame.repartition(n) for n in (1, 7, 200)), doubled,
              spark.read.format("delta").load(str(tmp_path / "delta")),
              spark.read.schema("id bigint").csv(str(tmp_path / "csv"), header=True)]  # fmt: skip
    kept = set(ids)
    for one in frames:
        assert digest((k, fold) for k, fold in folds_of(SparkFrame(one)).items() if k in kept) == wanted


@pytest.mark.parametrize(
    ("master", "partitions"),
    [("local[1]", 3), ("local[4]", 7), ("local-cluster[2,1,1024]", 5)],
)
@pytest.mark.slow
def test_another_cluster_gives_the_same_folds(digest_here, master, partitions, spark_home, tmp_path):
    folder, _, wanted = digest_here
    (tmp_path / "job.py").write_text(SCRIPT)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK", "PYSPARK"))}
    environment |= {
        "SPARK_HOME": str(spark_home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": f"--master {master} --conf spark.executor.extraJavaOptions={FAST} pyspark-shell",
        "SPARK_SUBMIT_OPTS": FAST,
    }  # fmt: skip
    command = [sys.executable, "job.py", str(folder / "rows.parquet"), str(partitions), "out"]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (tmp_path / "out").read_text() == wanted
