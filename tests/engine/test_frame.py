"""Frames: the same rows on every engine."""

import functools
import math
import operator
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.engine.arrow_types import arrow_schema, arrow_type, type_name
from keyfold.engine.columns import col, count_rows, escape_name, lit, unescape_name, when
from keyfold.engine.engine import EmbeddedEngine
from keyfold.engine.frame import Computed
from keyfold.engine.parallel import map_in_threads
from keyfold.errors import DataError

pytestmark = pytest.mark.both_engines

ODD, KEY, TEXT = "a.`b` ${c}", "order", "x y"
ROWS = pa.table(
    {
        ODD: pa.array([1, 2, None, 4, 2**53 + 1], pa.int64()),
        KEY: ["x", "y", None, "x", "ß"],
        TEXT: pa.array([1.5, math.nan, None, 2.5, 0.0]),
        "at": pa.array([1, 2, 3, 4, None], pa.timestamp("us", "UTC")),
    }
)


@pytest.fixture
def frame_of(engine):
    return engine.frame


@pytest.fixture
def database(embedded):
    return embedded.database


def twice(batches):
    for batch in batches:
        doubled = pa.array([None if n is None else 2 * n for n in batch[ODD].to_pylist()], pa.int64())
        yield pa.record_batch({"twice.": doubled, KEY: batch[KEY]})


def refuse(batches):
    for batch in batches:
        raise DataError(f"{batch.num_rows} rows are refused")
    yield from ()


def plus_one(batch):
    return [pa.array([n if n is None else n + 1 for n in batch[ODD].to_pylist()], pa.int64())]


def sorted_rows(frame):
    return sorted(map(repr, frame.rows()))


def test_types_are_named_as_spark_names_them(frame_of):
    assert frame_of(ROWS).types == {ODD: "bigint", KEY: "string", TEXT: "double", "at": "timestamp"}


def test_rows_are_kept_grouped_joined_and_ordered(frame_of):
    rows = frame_of(ROWS)
    by_key = rows.group([KEY], rows_of_key=count_rows(), total=col(ODD).sum(), most=col("at").max())
    assert by_key.types == {KEY: "string", "rows_of_key": "bigint", "total": "bigint", "most": "timestamp"}
    assert {row[KEY]: (row["rows_of_key"], row["total"]) for row in by_key.rows()} == {
        "x": (2, 5), "y": (1, 2), None: (1, 0), "ß": (1, 2**53 + 1),
    }  # fmt: skip
    named = rows.with_columns({"which": when(col(ODD).is_null()).then(lit("none")).otherwise(col(KEY))})
    assert [row["which"] for row in named.sort([ODD]).rows()] == ["none", "x", "y", "x", "ß"]
    assert rows.with_columns({}).columns == rows.columns
    joined = rows.select([ODD, KEY]).join(rows.where(col(ODD) > 2).select([KEY]).rename({KEY: KEY}), [KEY], "semi")
    assert sorted(row[ODD] for row in joined.rows()) == [1, 4, 2**53 + 1]
    assert [row[ODD] for row in rows.sort([ODD], descending=[ODD]).head(3).rows()] == [None, 2**53 + 1, 4]
    assert rows.union(rows).distinct().count() == 5
    assert rows.drop(TEXT, "at").rename({ODD: "n"}).columns == ["n", KEY]


def test_kernels_compute_rows_which_can_be_read_again_and_used_twice(frame_of):
    rows = frame_of(ROWS)
    doubled = rows.map_batches(twice, {"twice.": pa.int64(), KEY: pa.string()})
    assert doubled.types == {"twice.": "bigint", KEY: "string"}
    joined = doubled.join(rows.select([KEY, ODD]), [KEY])
    assert sorted((row["twice."], row[ODD]) for row in joined.rows()) == [
        (2, 1), (2, 4), (4, 2), (8, 1), (8, 4), (2**54 + 2, 2**53 + 1),
    ]  # fmt: skip
    assert doubled.count() == joined.select([KEY]).union(doubled.select([KEY])).count() - 6 == 5
    kept = doubled.persist()
    assert sorted_rows(kept) == sorted_rows(doubled)
    kept.unpersist()
    added = rows.compute(Computed({"next": pa.int64()}, plus_one))
    assert [row["next"] for row in added.sort([ODD]).rows()] == [None, 2, 3, 5, 2**53 + 2]


def test_columns_are_stacked(frame_of):
    rows = frame_of(ROWS).with_columns({"m": col(ODD) + 1}).stack("of", {"n": [ODD, "m"], "k": [KEY, KEY]}, [TEXT])
    assert rows.types == {TEXT: "double", "of": "int", "n": "bigint", "k": "string"}
    found = {(row["of"], row["n"], row["k"]) for row in rows.rows()}
    assert found == {
        (i, n and n + i, k) for i in (0, 1) for n, k in zip(ROWS[ODD].to_pylist(), ROWS[KEY].to_pylist(), strict=True)
    }
    assert rows.count() == 10


def last_of_group(batches):
    """The number of rows and of groups, which are together and in order; needs all rows of a group in one task."""
    seen, last = set(), (None, -1)
    rows = 0
    for batch in batches:
        for key, n in zip(batch["key"].to_pylist(), batch["n"].to_pylist(), strict=True):
            if key != last[0]:
                assert key not in seen
                seen.add(key)
            else:
                assert n >= last[1]
            last = key, n
            rows += 1
    yield pa.record_batch({"groups": pa.array([len(seen)]), "rows": pa.array([rows])})


def test_kernels_get_whole_groups_in_order(frame_of):
    n = 50_000
    table = pa.table({"key": [str(i * 7919 % 13) for i in range(n)], "n": [i * 104729 % n for i in range(n)]})
    found = frame_of(table).map_sorted(["key"], ["n"], last_of_group, {"groups": pa.int64(), "rows": pa.int64()}).rows()
    assert sum(row["groups"] for row in found) == 13
    assert sum(row["rows"] for row in found) == n


def costs(batch):
    return [pa.array([100 if name.startswith("large") else 1 for name in batch[KEY].to_pylist()], pa.int64())]


def tasks_and_turns(batches):
    task = uuid.uuid4().hex
    for batch in batches:
        n = batch.num_rows
        yield pa.record_batch({KEY: batch[KEY], "task": pa.repeat(task, n), "turn": pa.repeat(pa.scalar(n, pa.int32()), n)})


def test_rows_are_dealt_to_tasks_by_their_costs_or_in_turns(engine):
    names = [f"small {i}" for i in range(64)] + [f"large {i}" for i in range(8)]
    rows = engine.frame(pa.table({KEY: names, "n": range(72)})).balance([KEY], Computed({"cost": pa.int64()}, costs), 72)
    assert rows.columns == [KEY, "n"]
    made = rows.map_batches(tasks_and_turns, {KEY: pa.string(), "task": pa.string(), "turn": pa.int32()}).rows()
    assert sorted(row[KEY] for row in made) == sorted(names)
    if engine.name == "spark":
        assert len({row["task"] for row in made if row[KEY].startswith("large")}) == 8
    else:
        assert max(row["turn"] for row in made) <= 16


def test_what_a_kernel_raises_is_told(frame_of):
    with pytest.raises(Exception, match="rows are refused"):
        frame_of(ROWS).map_batches(refuse, {KEY: pa.string()}).count()


def test_an_embedded_kernel_raises_its_own_error(database):
    refused = database.frame(ROWS).map_batches(refuse, {KEY: pa.string()})
    with pytest.raises(DataError, match="5 rows are refused"):
        refused.join(database.frame(ROWS), [KEY]).rows()
    assert database.frame(ROWS).count() == 5


def test_rows_that_are_not_read_to_the_end_hide_no_error(database):
    def many(batches):
        for batch in batches:
            yield from [batch] * 1000

    assert database.frame(ROWS).map_batches(many, {f.name: f.type for f in ROWS.schema}).head(1).count() == 1
    with pytest.raises(DataError, match="5 rows are refused"):
        database.frame(ROWS).map_batches(refuse, {KEY: pa.string()}).count()


def test_many_persisted_rows_go_to_a_file(database, monkeypatch):
    monkeypatch.setattr("keyfold.engine.local_rows._HELD", 100)
    rows = database.frame(ROWS)
    kept = rows.persist()
    assert len([*database.spill.path.glob("*.arrow")]) == 1
    assert sorted_rows(kept.join(kept.select([KEY]), [KEY])) == sorted_rows(rows.join(rows.select([KEY]), [KEY]))
    assert kept.types == rows.types
    kept.unpersist()
    assert not [*database.spill.path.glob("*.arrow")]


def test_rows_in_memory_hold_no_other_columns(database):
    """A batch of DuckDB is freed with the last of its columns."""
    made = []

    def first(batches):
        for batch in batches:
            made.append(batch.select(["i"]))
            yield made[-1]

    frame = database.frame(pa.table({"i": range(50), "wide": ["x" * 1000] * 50})).map_batches(first, {"i": pa.int64()})
    addresses = {chunk.buffers()[1].address for chunk in frame.to_arrow()["i"].chunks}
    assert not addresses & {batch["i"].buffers()[1].address for batch in made}


def test_embedded_times_are_of_utc_wherever_the_machine_is(database, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert database.frame(ROWS).to_arrow().schema.field("at").type == pa.timestamp("us", "UTC")
    early = database.frame(ROWS).where(col("at") < lit(datetime(1970, 1, 1, 0, 0, 0, 3, tzinfo=UTC)))
    assert early.count() == 2
    assert (
        EmbeddedEngine().frame(ROWS).where(col("at") < lit("1970-01-01 00:00:00.000003").cast(nw.Datetime("us", "UTC"))).count()
        == 2
    )


tables = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from(["", "a", "b", "ß", "\0"])),
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        st.one_of(st.none(), st.sampled_from([0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324])),
    ),
    max_size=12,
)


@settings(max_examples=4)
@given(tables, tables)
def test_engines_agree(spark_engine, embedded, some, others):
    """Grouping, joining, ordering and uniting have equal results on drawn rows."""
    schema = pa.schema([("k", pa.string()), ("n", pa.int64()), ("x", pa.float64())])
    results = []
    for make in (spark_engine.frame, embedded.frame):
        left, right = (
            make(pa.Table.from_pylist([dict(zip("knx", row, strict=True)) for row in rows], schema)) for rows in (some, others)
        )
        groups = left.group(["k"], rows_of_k=count_rows(), least=col("n").min(), most=col("x").max())
        kinds = [left.join(right.select(["k"]).distinct(), ["k"], how) for how in ("inner", "left", "semi", "anti")]
        ordered = left.sort(["x", "k", "n"], descending=["k"])
        results.append([[repr(row) for row in ordered.rows()], *map(sorted_rows, [groups, *kinds, left.union(right).distinct()])])
    assert results[0] == results[1]


def task_rows(task):
    yield pa.record_batch({"of": pa.array([task] * 3)})


def test_decimals_of_38_digits_are_not_taken_for_sums_of_integers(engine):
    """DuckDB's sums of integers and its decimals of 38 digits come as one Arrow type."""
    large = Decimal(10) ** 37 + 1
    table = pa.table({"k": ["a", "a", "b"], "n": pa.array([1, 2, 3]), "d": pa.array([large, None, -large], pa.decimal128(38, 0))})
    sums = engine.frame(table).group(["k"], total=col("n").sum(), most=col("d").max())
    assert sums.types == {"k": "string", "total": "bigint", "most": "decimal(38,0)"}
    assert sorted((row["k"], row["total"], row["most"]) for row in sums.rows()) == [("a", 3, large), ("b", 3, -large)]
    held = engine.frame(table).persist().map_batches(iter, {"k": pa.string(), "n": pa.int64(), "d": pa.decimal128(38, 0)})
    assert held.types["d"] == "decimal(38,0)"
    assert held.count() == 3


def test_tasks_make_rows(engine):
    rows = engine.map_tasks(task_rows, ["a", "b", "a"], {"of": pa.string()})
    assert {row["of"]: row["n_rows"] for row in rows.group(["of"], n_rows=count_rows()).rows()} == {"a": 6, "b": 3}
    assert engine.map_tasks(task_rows, [], {"of": pa.string()}).count() == 0
    assert engine.tasks >= 1


def test_local_rows_have_declared_types(engine):
    rows = engine.rows([("a", 1, {"x": 0.5}), (None, None, None)], "t string, n int, m map<string,double>")
    assert rows.types == {"t": "string", "n": "int", "m": "map<string,double>"}
    assert rows.count() == 2


def test_threads_share_the_work_and_end_early():
    ended = []

    def double(items):
        try:
            for item in items:
                if item == 99:
                    raise ValueError("99")
                yield 2 * item
        finally:
            ended.append(1)

    assert [*map_in_threads(double, range(50), 3)] == [2 * i for i in range(50)]
    with pytest.raises(ValueError, match="99"):
        list(map_in_threads(double, range(200), 3))
    some = map_in_threads(double, iter(int, 1), 3)
    assert next(some) == 0
    some.close()
    assert len(ended) == 9


def test_results_of_threads_are_in_the_order_of_their_items():
    """Also if an early item takes long, has several results or none, or comes out after others were taken."""

    def slow_first(items):
        for item in items:
            time.sleep(0.05 if item % 10 == 0 else 0)
            yield from [item] * (item % 3)

    assert [*map_in_threads(slow_first, range(100), 4)] == [i for i in range(100) for _ in range(i % 3)]

    def together(items):
        yield sum(items)

    assert sum(map_in_threads(together, range(1000), 4)) == 499_500
    assert [*map_in_threads(slow_first, [], 4)] == []


def test_embedded_kernels_keep_the_order_of_rows(database):
    n = 200_000
    kept = database.frame(pa.table({"i": range(n)})).map_batches(iter, {"i": pa.int64()}).to_arrow()["i"].to_numpy()
    assert (kept[1:] > kept[:-1]).all()
    assert len(kept) == n


@given(st.text())
def test_names_come_back(name):
    assert unescape_name(escape_name(name)) == name


@pytest.mark.parametrize(
    "name",
    ["bigint", "int", "decimal(38,18)", "array<string>", "map<string,array<double>>", "timestamp_ntz", "binary", "date"],
)
def test_types_have_names(name):
    assert type_name(arrow_type(name)) == name
    assert arrow_schema(f"a {name}, b map<string, decimal(5,2)>").names == ["a", "b"]


def test_rows_are_written_to_few_files_and_reach_kernels_unmeasured(engine):
    rows = engine.frame(ROWS)
    assert sorted_rows(rows.union(rows).coalesce(1)) == sorted_rows(rows.union(rows))
    limit = "spark.sql.execution.arrow.maxBytesPerBatch"
    for columns, measured in ([ODD, TEXT, "at"], False), ([ODD, KEY], True):
        with rows.unmeasured(columns):
            assert rows.map_batches(twice, {"twice.": pa.int64(), KEY: pa.string()}).columns == ["twice.", KEY]
            if engine.name == "spark":
                assert (engine.spark.conf.get(limit) != str(2**31 - 1)) == measured


def test_a_filter_over_many_renamed_columns_is_planned(engine):
    names = [f"c{i}" for i in range(24)]
    frame = engine.frame(pa.table({name: [1, 2, 3] for name in names}))
    some = frame.where(functools.reduce(operator.or_, (col(name) == lit(2) for name in names)))
    texts = some.with_columns({f"{name}_text": col(name) for name in names})
    each = texts.stack("number", {"value": names, "text": [f"{name}_text" for name in names]})
    assert each.where((col("number") == lit(0)) & (col("text") == lit(2))).count() == 1
    if engine.name == "spark":
        assert engine.spark.conf.get("spark.sql.constraintPropagation.enabled") == "true", "a user's session stays as it is"


def test_rows_of_other_partitions_are_not_computed(embedded):
    computed = []

    def kernel(batch):
        computed.extend(batch.column("n").to_pylist())
        return [batch.column("n")]

    rows = embedded.frame(pa.table({"period": ["a", "b", "c", None], "n": [1, 2, 3, 4]}))
    more = rows.compute(Computed({"same": pa.int64()}, kernel)).with_columns({"n": col("n") + lit(1)}).where(col("n") > lit(0))
    assert more.select(["period", "n", "same"]).among("period", ["b", "c"]).rows() == [
        {"period": "b", "n": 3, "same": 2},
        {"period": "c", "n": 4, "same": 3},
    ]
    assert sorted(computed) == [2, 3]
    assert more.among("n", [2]).select(["n", "same"]).rows() == [{"n": 2, "same": 1}], "the column that was set"


def test_columns_of_one_value_are_the_same_on_a_kernels_rows_and_on_others(engine):
    rows = engine.frame(pa.table({"a": [1, 2, 3]}))
    at = datetime(2026, 11, 1, 12, tzinfo=UTC)
    constants = {"t": pa.scalar("x"), "i": pa.scalar(7, pa.int32()), "at": pa.scalar(at, pa.timestamp("us", "UTC"))}
    kernel = rows.map_batches(_as_they_are, {"a": pa.int64()})
    for frame in (rows, kernel):
        found = frame.with_constants(constants).select(["at", "a", "i", "t"])
        assert found.types == {"at": "timestamp", "a": "bigint", "i": "int", "t": "string"}
        assert found.where(col("a") > lit(1)).to_arrow().num_rows == 2
        expected = [{"at": at, "a": a, "i": 7, "t": "x"} for a in (1, 2, 3)]
        assert found.sort(["a"]).to_arrow().to_pylist() == found.to_arrow().sort_by("a").to_pylist() == expected


def _as_they_are(batches):
    yield from batches
