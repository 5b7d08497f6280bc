"""Every row once an epoch, in an order that knows nothing of ranks: laws over files of all shapes."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.errors import ConfError, DataError
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.models.torch import STREAMS, rows_per_stream
from keyfold.training import streams
from keyfold.training.streams import Reader, StreamPlan, row_groups

OUTS = {
    "user": FeatureOutput("int", 50),
    "words": FeatureOutput("int", 9, 2),
    "price": FeatureOutput("double"),
    "place": FeatureOutput("float", 1, 3),
    "bag": FeatureOutput("int", 4, 1),
}
RANKS = (1, 2, 3, 4, 6, 12)


def file(path, order, group=4):
    """Rows whose features can be told from their keys."""
    n = len(order)
    columns = {
        "user": np.arange(n, dtype=np.int32) % 50, "words": pa.array([[i % 9, 3] for i in range(n)], pa.list_(pa.int32())),
        "price": np.asarray(order) / 8, "place": pa.array([[i, i + 0.5, -i] for i in range(n)], pa.list_(pa.float32())),
        "bag": np.zeros(n, np.int32), "keyfold_label": np.arange(n) % 2 == 0, "keyfold_order": np.asarray(order, np.int64),
    }  # fmt: skip
    pq.write_table(pa.table(columns), path, row_group_size=group)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Streams of very different sizes, one of them empty, one of two files, one with large row groups; and their keys."""
    at, made, keys = tmp_path_factory.mktemp("streams"), [], []
    for stream in range(STREAMS):
        files = []
        for part in range(2 if stream == 3 else 0 if stream == 5 else 1):
            order = [(stream * 10 + part) * 1000 + i - 40_000 for i in range(stream * 4 + 1)]
            files.append(str(at / f"{stream}-{part}.parquet"))
            file(files[-1], order, 30 if stream == 7 else 4)
            keys += order
        made.append(row_groups(files))
    return made, keys


def plan(written, each=3, seed=0, block=8):
    return StreamPlan(written[0], Layout.of(OUTS), seed, each, block)


def keys_of(batch):
    """The keys of the rows of a batch that are no padding, by the price that each has."""
    return (batch.rows.numbers[batch.rows.weight > 0, 0] * 8).astype(int).tolist()


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 99),
    epoch=st.integers(0, 9),
    each=st.integers(1, 20),
    block=st.integers(1, 40),
    ranks=st.sampled_from(RANKS),
    data=st.data(),
)
def test_all_ranks_see_one_sequence_and_go_on_anywhere(written, seed, epoch, each, block, ranks, data):
    made = plan(written, each, seed, block)
    alone = list(Reader(made, 0, 1).batches(epoch))
    assert len(alone) == made.steps
    assert Counter(key for batch in alone for key in keys_of(batch)) == Counter(written[1])
    filled = np.array([(batch.rows.weight > 0).reshape(STREAMS, each).sum(1) for batch in alone])
    assert (np.ptp(filled, axis=0) <= 1).all(), "none has but the rest of a stream"
    step = data.draw(st.integers(0, made.steps))
    shared = [list(Reader(made, rank, ranks).batches(epoch, step)) for rank in range(ranks)]
    for number, parts in enumerate(zip(*shared, strict=True)):
        whole = alone[step + number]
        for name in ("indices", "numbers", "label", "weight"):
            assert np.array_equal(np.concatenate([getattr(part.rows, name) for part in parts]), getattr(whole.rows, name))
        assert sum(part.keys[0] for part in parts) == whole.keys[0] == int((whole.rows.weight > 0).sum())
        assert sum(part.keys[1] for part in parts) % 2**64 == whole.keys[1] == sum(keys_of(whole)) % 2**64
        assert len(whole.rows.label) == STREAMS * each
    assert all(len(of_rank) == made.steps - step for of_rank in shared)


def test_without_rows_there_are_no_batches():
    assert list(Reader(StreamPlan([[]] * STREAMS, Layout.of(OUTS), 0, 3), 0, 1).batches(0)) == []


def test_rows_keep_what_is_theirs_and_padding_weighs_nothing(written):
    for batch in Reader(plan(written, each=5), 0, 1).batches(0):
        real = batch.rows.weight > 0
        i = batch.rows.numbers[:, 1]  # the number of the row in its file
        assert np.array_equal(batch.rows.indices[real, 0], i[real] % 50)
        assert np.array_equal(batch.rows.indices[real, 1:], np.stack([i % 9, 0 * i + 3, 0 * i], axis=1)[real])
        assert np.array_equal(batch.rows.numbers[real, 2:], np.stack([i + 0.5, -i], axis=1)[real])
        assert np.array_equal(batch.rows.label[real], (i % 2 == 0)[real])
        assert not batch.rows.numbers[~real].any() and not batch.rows.indices[~real].any()


def test_an_epoch_is_an_order_of_its_own(written):
    def first(seed, epoch):
        return [keys_of(batch) for batch in Reader(plan(written, seed=seed), 0, 1).batches(epoch)]

    assert first(0, 0) == first(0, 0)
    assert len({str(first(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    # Rows of one file are not left in the order in which it has them.
    one = [key for batch in first(0, 0) for key in batch if 70_000 <= key + 40_000 < 71_000]
    assert sorted(one) != one


def test_files_are_in_the_order_of_their_keys_whatever_their_names(written, tmp_path):
    for name, order in (("b", range(8)), ("a", range(8, 16)), ("c", range(-8, 0))):
        file(tmp_path / f"{name}.parquet", list(order))
    some = [str(tmp_path / f"{name}.parquet") for name in "abc"]
    found = row_groups(some)
    assert [(g.file[-9], g.number) for g in found] == [("c", 0), ("c", 1), ("b", 0), ("b", 1), ("a", 0), ("a", 1)]
    assert row_groups(some[::-1]) == found


def test_memory_is_bounded_by_what_is_shuffled_together(written):
    for stream, parts in enumerate(written[0]):
        blocks = plan(written).blocks(stream, 0)
        assert Counter(g for block in blocks for g in block) == Counter(parts)
        assert all(len(block) == 1 or sum(g.rows for g in block) <= 8 for block in blocks)
    photos = Layout.of({"photo": FeatureOutput("float", length=64 * 64 * 3)})
    assert streams.shuffle_rows(Layout.of(OUTS)) == 65_536
    assert 60 < streams.shuffle_rows(photos) * 64 * 64 * 3 * 4 / 2**20 <= 64, "megabytes of a block"


def test_what_cannot_be_is_a_sentence(written, tmp_path):
    with pytest.raises(ConfError, match=r"train.ranks must be one of 1, 2, 3, 4, 6, 12.*\(got 5\)"):
        plan(written).owned(0, 5)
    with pytest.raises(ConfError, match=r"batch_size must be a multiple of 12.*\(got 1000\); use 996 or 1008"):
        rows_per_stream(1000)
    assert rows_per_stream(996) == 83
    with pytest.raises(DataError, match=r"features.tags is a bag"):
        Layout.of({"tags": FeatureOutput("int", 9, None)})
    file(tmp_path / "a.parquet", [1, 2])
    gone = StreamPlan([row_groups([str(tmp_path / "a.parquet")])] * STREAMS, Layout.of(OUTS), 0, 1)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(DataError, match=r"a.parquet is missing: VACUUM has deleted the version"):
        list(Reader(gone, 0, 1).batches(0))


def test_a_loop_that_stops_leaves_no_thread(written):
    import threading

    before = threading.active_count()
    some = Reader(plan(written, each=1), 0, 1).batches(0)
    next(some)
    some.close()
    for thread in threading.enumerate():
        if "work" in thread.name:
            thread.join(5)
    assert threading.active_count() == before
