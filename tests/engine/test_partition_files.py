"""Files of a partitioned table whose rows keep their order."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from keyfold.engine.columns import col
from keyfold.engine.partition_files import _parts
from keyfold.engine.tables import Tables
from keyfold.errors import PromiseError

VALUES = [None, "p'1 ä/%2F:\\", "may 1", ""]


@given(st.lists(st.tuples(st.sampled_from(VALUES), st.integers(0, 9)), max_size=6), st.integers(1, 5), st.integers(1, 4))
def test_parts_are_full_but_the_last_one_of_a_run(runs, size, most):
    values = [value for value, rows in runs for _ in range(rows)]
    table = pa.table({"p": pa.array(values, pa.string()), "x": pa.array(range(len(values)), pa.int64())})
    parts = [*_parts(table.to_batches(max_chunksize=size), "p", most)]
    assert [(value, x) for value, part in parts for x in part["x"].to_pylist()] == [*zip(values, range(len(values)), strict=True)]
    for (value, part), (after, _) in pairwise(parts):
        assert part.num_rows == most or value != after
    assert all(1 <= part.num_rows <= most for _, part in parts)


def frame_of(engine, **columns):
    return engine.frame(pa.table(columns))


def groups_of(table):
    """The rows `x` of each row group, by file, in the order of the first row."""
    files = [parquet.ParquetFile(file) for file in table.files()]
    assert all(file.num_row_groups == 1 for file in files)
    return sorted(file.read(["x"])["x"].to_pylist() for file in files)


def write(engine, table, values, x, **more):
    """Replaces the rows of these values of the partition `p`."""
    of = [values[i % len(values)] for i in range(len(x))]
    rows = frame_of(engine, p=pa.array(of, pa.string()), x=pa.array(x, pa.int64()), **more)
    counts = {value: of.count(value) for value in values}
    return table.replace(rows.clustered(["p"], ["x"], 2), "p", counts, rows_per_file=3, schema=True)


@pytest.mark.both_engines
def test_rows_are_in_files_of_equal_size_and_in_order(engine, tmp_path):
    table = Tables(engine, tmp_path / "state 1").table("a.b")
    commit = write(engine, table, ["may", "June 1"], [*range(16)][::-1])
    assert (commit.version, commit.rows) == (0, 16)
    assert groups_of(table) == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11], [12, 14], [13, 15]]


def test_the_embedded_engine_replaces_and_puts_back_such_files(embedded, tmp_path):
    table = Tables(embedded, tmp_path).table("a.b")
    write(embedded, table, ["a", VALUES[1]], [*range(8)])
    write(embedded, table, [VALUES[1]], [20, 21, 22, 23])
    assert groups_of(table) == [[0, 2, 4], [6], [20, 21, 22], [23]]
    assert sorted(row["x"] for row in table.frame().where(col("p") == VALUES[1]).rows()) == [20, 21, 22, 23]
    assert write(embedded, table, ["a"], [], y=pa.array([], pa.int64())).rows == 0
    assert table.frame().columns == ["p", "x", "y"] and not table.files(), "other columns replace all rows"
    write(embedded, table, ["a"], [1], y=[1])
    with pytest.raises(PromiseError, match="5 rows were expected"):
        table.replace(frame_of(embedded, p=["a"], x=[9], y=[9]), "p", {"a": 5}, rows_per_file=3)
    assert table.frame().select(["x"]).rows() == [{"x": 1}]
    assert all(Path(file).exists() for file in table.files())
