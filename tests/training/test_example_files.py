"""The files of examples that networks read: written once for the same rows, and checked before they are used."""

from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import parquet

from keyfold.core.names import ORDER, STREAM
from keyfold.errors import DataError
from keyfold.models.torch import STREAMS
from keyfold.training import example_files
from keyfold.training.example_files import NETWORK_FOLDS

NAMES = [f"{fold}-{stream:02d}" for fold in NETWORK_FOLDS for stream in range(STREAMS)]


@pytest.fixture
def table(tmp_path):
    """A table with five rows in each stream, in two files, and one commit of the run `r3`."""
    for name in NAMES:
        (tmp_path / f"{STREAM}={name}").mkdir()
        for part, orders in enumerate(([3, 4, 5], [1, 2])):
            parquet.write_table(pa.table({ORDER: orders}), tmp_path / f"{STREAM}={name}/{part}.parquet")
    table = SimpleNamespace(
        name="t.examples", written=[], version=lambda: SimpleNamespace(version=table.latest), latest=7, exists=lambda: True,
        last=SimpleNamespace(version=7, metadata={"run_id": "r3", STREAM: dict.fromkeys(NAMES, 5)}),
        commits=lambda: iter([table.last]),
        read=lambda version: SimpleNamespace(inputFiles=lambda: [f"file://{path}" for path in tmp_path.rglob("*.parquet")]),
    )  # fmt: skip
    return table


@pytest.fixture
def groups(table, monkeypatch):
    """Finds the row groups for a run id; a second write makes the commit one of that run."""

    def write(context, table, run_id):
        table.written.append(run_id)
        table.latest = 9
        table.last = SimpleNamespace(version=9, metadata={**table.last.metadata, "run_id": run_id})

    monkeypatch.setattr(example_files, "_write_features", write)

    def groups(run_id="r3"):
        run = SimpleNamespace(used=lambda what: table, identity=lambda job, **pins: run_id)
        rows = SimpleNamespace(pins=lambda run: {})
        return example_files._stream_groups(SimpleNamespace(run=run, rows=rows, spec=SimpleNamespace(digest="d")))

    return groups


def test_each_stream_has_its_row_groups_in_the_order_of_the_keys(table, groups):
    found = groups()
    assert {fold: len(streams) for fold, streams in found.items()} == dict.fromkeys(NETWORK_FOLDS, STREAMS)
    for fold in NETWORK_FOLDS:
        for stream, parts in enumerate(found[fold]):
            assert [part.rows for part in parts] == [2, 3]
            assert all(f"{STREAM}={fold}-{stream:02d}/" in part.file for part in parts)
    assert table.written == []


def test_other_rows_or_a_change_by_others_write_the_files_anew(table, groups):
    groups("r4")
    table.latest = 10
    groups("r4")
    assert table.written == ["r4", "r4"]


def test_deleted_rows_are_an_error(table, groups, tmp_path):
    (tmp_path / f"{STREAM}={NAMES[5]}/0.parquet").unlink()
    with pytest.raises(
        DataError, match=rf"table `t.examples`: the files of {NAMES[5]} have 2 rows, and 5 were written; rows were deleted"
    ):
        groups()
