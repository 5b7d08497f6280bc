"""The files of examples that networks read: written once for the same rows, and checked before they are used."""

from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import parquet

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import LABEL, ORDER, PERIOD, STREAM
from keyfold.dataset.fit_features import fit_features
from keyfold.errors import DataError
from keyfold.features.matrix import Layout
from keyfold.labels import Bands, Multilabel
from keyfold.models.torch import STREAMS
from keyfold.runtime.run import Run
from keyfold.training import example_files
from keyfold.training.context import TrainingContext
from keyfold.training.example_files import NETWORK_FOLDS
from keyfold.training.streams import Reader, StreamPlan

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
        files=lambda version: [str(path) for path in tmp_path.rglob("*.parquet")],
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


@pytest.mark.both_engines
@pytest.mark.parametrize(
    ("label", "truth", "written"),
    [
        (Bands("double", (1.0, 2.0), 0.0, 3.0, (0.5, 1.5, 2.5)), [0.5, 1.0, 9.0], [0.0, 1.0, 2.0]),
        (Multilabel("string", tuple(map(str, range(33))), (0.5,) * 33), ["", "0,32", "1,31"], [[0, 0], [1, 1], [2 - 2**31, 0]]),
    ],
)
def test_labels_are_written_as_codes_and_bits(engine, label, truth, written):
    rows = engine.frame(pa.table({"id": [1, 2, 3], LABEL: pa.array(truth, label.truth_type)}))
    encoded = example_files._encoded(SimpleNamespace(rows=rows, label=label)).to_arrow().sort_by("id")
    assert encoded[LABEL].to_pylist() == written


# --- the files of both engines ---

RAW = {
    "name": "t", "data": {"key": ["id"]}, "label": {"column": "y", "positive": True},
    "split": {"share": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    "features": {
        "x": {"numeric": {"input_col": "x", "scale": "standard"}}, "c": {"one_hot": {"input_col": "c"}},
        "words, as told": {"text": {"input_col": "c", "num_buckets": 32, "length": 3}}, "rate": {"target_encoded": {"input_col": "c"}},
    },
    "train": {"model": {"torch": {"network": {"wide_deep": {"hidden": [4]}}}}},
}  # fmt: skip


def examples(engine, state, rows):
    """The row groups, by fold and stream, and the context."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(state))
        run = Run(parse_conf(RAW), engine)
        run.rows.replace(engine.frame(rows), PERIOD, {"all": rows.num_rows})
        spec, found = fit_features(run)
        with run.job("train") as job:
            context = TrainingContext(run, job, spec, found)
            groups = example_files._stream_groups(context)
    return groups, context


def rows_of(groups):
    """The rows of each row group, without the partition's column, which Delta on Spark writes into files."""

    def rows(group):
        table = parquet.ParquetFile(group.file).read_row_group(group.number)
        return table.select([name for name in table.column_names if name != STREAM]).to_pylist()

    return {fold: [[*map(rows, stream)] for stream in streams] for fold, streams in groups.items()}


@pytest.fixture
def both(spark_engine, embedded, tmp_path, made_state, monkeypatch):
    """The row groups and the context of each engine, with files of at most 13 rows."""
    monkeypatch.setattr(example_files, "_GROUP_BYTES", 13 * (8 + 4 + 12 + 8 + 24))
    n = 400
    columns = {"id": range(n), "x": [i / 7 for i in range(n)], "c": [f"c{i % 5} d{i % 3}" for i in range(n)]}
    rows = pa.table({**columns, "y": [i % 3 == 0 for i in range(n)], PERIOD: ["all"] * n})
    return [examples(engine, made_state(tmp_path / f"{engine.name} 1"), rows) for engine in (spark_engine, embedded)]


def test_engines_write_the_same_rows_in_the_same_row_groups(both):
    (ours, theirs), groups, context = [rows_of(groups) for groups, _ in both], *both[1]
    assert ours == theirs
    sizes = [len(rows) for stream in theirs["train"] for rows in stream]
    batches = Reader(StreamPlan(groups["train"], Layout.of(context.spec.outs), 0, 5), 0, 1).batches(0)
    assert sum(batch.keys[0] for batch in batches) == sum(sizes)
    assert set(sizes) > {13} and max(sizes) == 13 and sum(sizes) == context.rows.count_in("train")
    for streams in theirs.values():
        orders = [[row[ORDER] for rows in stream for row in rows] for stream in streams]
        assert all(order == sorted(order) for order in orders) and sum(map(len, orders)) > 50
