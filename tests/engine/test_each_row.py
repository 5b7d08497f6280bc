"""Steps that look at each row alone: on the rows of a kernel Arrow takes them, on other rows DuckDB, with equal results."""

import math
import threading
from datetime import UTC, date, datetime

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.engine import embedded_frame
from keyfold.engine.columns import col, lit, when
from keyfold.engine.frame import Computed
from keyfold.errors import DataError

DAY, AT = date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)
ODD = "a.`b` ${c}"
TYPES = {
    "n": pa.int64(), ODD: pa.int32(), "text": pa.string(), "flag": pa.bool_(), "x": pa.float64(), "day": pa.date32(),
    "at": pa.timestamp("us", "UTC"),
}  # fmt: skip
# Steps by name, and whether Arrow may take them.
FILTERS = {
    "null": (~col("text").is_null(), True),
    "below": (col("n") < lit(2), True),
    "of some": (col("text").is_in(["a", "ß"]), True),
    "odd name": (col(ODD) == lit(1), True),
    "both": ((col("text") == lit("a")) & ~col("flag"), True),
    "either": ((col("text") == lit("a")) | col("flag"), True),
    "from day": (col("day") >= lit(DAY), True),
    "from time": (col("at") >= lit(AT), True),
    "float": (col("x") > lit(1.0), False),
    "float is null": (col("x").is_null(), False),
    "above a float": (col("n") > lit(1.5), False),  # Arrow refuses 2^53 + 1
    "of floats": (col("n").is_in([1.0]), False),
    "a huge number": (col("n") < lit(10**19), False),
    "the most of all rows": (col("n") == col("n").max(), False),
}
COLUMNS = {
    "chosen": (when(col("text") == lit("a")).then(col("n")), True),
    "otherwise": (when(col("text").is_null()).then(lit("")).otherwise(col("text")), True),
    "first reason": (
        nw.coalesce(when(col("n").is_null()).then(lit("no n")), when(col("day").is_null()).then(lit("no day"))),
        True,
    ),
    "whole": (col("flag").cast(nw.Int64), True),
    "nothing": (lit(None).cast(nw.String), True),
    "number": (lit(3), True),
    "copy": (col("x"), False),
    "difference": (col(ODD) - lit(1), False),  # Arrow's whole numbers wrap
    "number of rows": (nw.len(), False),
    "text of a time": (col("at").cast(nw.String), False),
    "number of some columns": (when(col("flag")).then(col("n")).otherwise(lit(1)).cast(nw.Int64), False),
}

cells = st.fixed_dictionaries(
    {
        "n": st.none() | st.sampled_from([-(2**63), 0, 1, 2, 2**53 + 1]), ODD: st.none() | st.integers(0, 2),
        "text": st.none() | st.sampled_from(["", "a", "ß", "b"]), "flag": st.none() | st.booleans(),
        "x": st.none() | st.sampled_from([0.5, -0.0, 1.5, math.inf, math.nan]), "day": st.none() | st.sampled_from([date(1900, 1, 1), DAY]),
        "at": st.none() | st.sampled_from([AT, datetime(2026, 2, 1, tzinfo=UTC)]),
    }
)  # fmt: skip


def by_kernel(frame):
    return frame.map_batches(iter, TYPES)


def text_of(table):
    return [str([table.schema, *(repr(row) for row in table.to_pylist())])]


@pytest.fixture
def steps(monkeypatch):
    """The steps that Arrow took."""
    taken = []
    monkeypatch.setattr(embedded_frame, "EachRow", lambda step, new=embedded_frame.EachRow: taken.append(step) or new(step))
    return taken


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(cells, max_size=6))
def test_arrow_and_duckdb_agree(embedded, rows):
    frame = embedded.frame(pa.Table.from_pylist(rows, pa.schema(TYPES)))
    for condition, _ in FILTERS.values():
        assert text_of(by_kernel(frame).where(condition).to_arrow()) == text_of(frame.where(condition).to_arrow())
    columns = {name: column for name, (column, _) in COLUMNS.items()}
    for each in ({name: column} for name, column in columns.items()):
        assert text_of(by_kernel(frame).with_columns(each).to_arrow()) == text_of(frame.with_columns(each).to_arrow())


@pytest.mark.parametrize("name", [*FILTERS, *COLUMNS])
def test_arrow_takes_the_steps_whose_results_are_duckdbs(embedded, steps, name):
    """NaN is the largest number for DuckDB and Spark, and less than nothing for Arrow."""
    rows = by_kernel(embedded.frame(pa.schema(TYPES).empty_table()))
    step, plain = (FILTERS | COLUMNS)[name]
    (rows.where(step) if name in FILTERS else rows.with_columns({"new": step})).to_arrow()
    assert bool(steps) == plain


def test_kernels_one_after_the_other_run_in_the_same_threads(embedded):
    names = {}

    def seen(step):
        def kernel(batch):
            names.setdefault(step, {}).setdefault(batch["n"][0].as_py(), threading.current_thread().name)
            return [batch["n"]]

        return Computed({step: pa.int64()}, kernel)

    rows = (
        embedded.frame(pa.table({"n": range(300_000)})).compute(seen("first")).where(col("n") >= lit(0)).compute(seen("second"))
    )
    assert rows.to_arrow()["second"].to_pylist() == [*range(300_000)]
    assert names["first"] == names["second"]
    assert len(names["first"]) > 2


def test_a_kernel_after_a_long_task_has_threads_of_its_own(embedded, monkeypatch):
    """One task may be a whole file."""
    monkeypatch.setattr(embedded.database, "threads", 2)
    both = threading.Barrier(2, timeout=20)

    def task(_):
        yield from [pa.record_batch({"n": [1]}), pa.record_batch({"n": [2]})]

    def kernel(batches):
        for batch in batches:
            both.wait()
            yield batch

    rows = embedded.map_tasks(task, [0], {"n": pa.int64()}).map_batches(kernel, {"n": pa.int64()})
    assert rows.to_arrow()["n"].to_pylist() == [1, 2]


def test_an_error_after_a_large_group_ends_all_threads(embedded, monkeypatch):
    """The kernel that reads the group holds what the other thread waits for."""
    monkeypatch.setattr("keyfold.engine.sorted_batches._RUN", 10)
    monkeypatch.setattr(embedded.database, "threads", 2)

    def refuse(batches):
        for number, batch in enumerate(batches):
            if number:
                raise DataError("the second batch is refused")
            yield batch

    rows = embedded.frame(pa.table({"group": [0] * 200_000 + [1], "n": range(200_001)}))
    sorted_rows = rows.map_sorted(["group"], ["n"], iter, {"group": pa.int64(), "n": pa.int64()})
    with pytest.raises(DataError, match="the second batch"):
        sorted_rows.map_batches(refuse, {"group": pa.int64(), "n": pa.int64()}).to_arrow()
    with pytest.raises(DataError, match="the second batch"):
        [*sorted_rows._stream.then(refuse, sorted_rows.schema).batches()]


def test_kernels_get_few_large_batches_unless_rows_are_wide(embedded):
    def sizes_of(texts):
        sizes = []
        rows = embedded.frame(pa.table({"text": texts})).map_batches(
            lambda some: (sizes.append(b.num_rows) or b for b in some), {"text": pa.string()}
        )
        assert rows.to_arrow()["text"].to_pylist() == texts
        return sizes

    assert max(sizes_of(["x"] * 200_000)) > 50_000
    assert max(sizes_of(["x" * 500] * 100_000)) < 50_000


def test_a_step_without_columns_changes_nothing(embedded):
    frame = embedded.frame(pa.schema(TYPES).empty_table())
    for rows in (frame, by_kernel(frame)):
        assert rows.with_columns({}).among("text", ["a"]).rows() == []
