"""From the files of a pinned Delta version to the batches of each rank: every row once an epoch, in an order that `(seed, epoch)` decides.

Which of the streams a row is in follows from its key. A global batch takes as many rows of each stream, and a rank owns whole streams;
so the sequence of global batches is the same for any number of ranks, and a rank reads nothing but its own files.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Full, Queue
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from keyfold.errors import ConfError, DataError
from keyfold.examples import LABEL
from keyfold.matrix import Layout
from keyfold.standins import WEIGHT

STREAMS = 12
ORDER = "keyfold_order"  # bigint: the hash of a row's key
BLOCK = 65_536  # rows that are shuffled together, but for larger row groups
AHEAD = 4  # batches that wait for the loop
_MASK = 2**64 - 1


class Group(NamedTuple):
    """A row group of a file."""

    file: str
    number: int
    rows: int


class Batch(NamedTuple):
    """Rows of one rank, stream after stream: int32 and float32 (rows, columns), float32 of label and weight; padding has weight 0.

    `keys`: how many rows are no padding, and the sum of the hashes of their keys, modulo 2^64.
    """

    indices: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.float32]
    label: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    keys: tuple[int, int]


class Plan(NamedTuple):
    """The row groups of each stream, and what a global batch takes of it."""

    streams: list[list[Group]]
    layout: Layout
    seed: int
    each: int  # rows of a stream in a batch
    block: int = BLOCK

    @property
    def steps(self) -> int:
        """Global batches of an epoch."""
        return max(-(-sum(g.rows for g in groups) // self.each) for groups in self.streams)

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return sum(g.rows for groups in self.streams for g in groups)

    def owned(self, rank: int, ranks: int) -> range:
        """The streams of a rank (ConfError where they cannot be shared out evenly)."""
        if len(self.streams) % ranks:
            raise uneven(len(self.streams), ranks)
        many = len(self.streams) // ranks
        return range(rank * many, (rank + 1) * many)

    def blocks(self, stream: int, epoch: int) -> list[list[Group]]:
        """The row groups of a stream in the order of an epoch, together as they are shuffled."""
        groups = self.streams[stream]
        made: list[list[Group]] = []
        for i in np.random.default_rng([self.seed, epoch, stream]).permutation(len(groups)):
            if not made or sum(g.rows for g in made[-1]) + groups[i].rows > self.block:
                made.append([])
            made[-1].append(groups[i])
        return made


def uneven(many: int, ranks: int) -> ConfError:
    """That so many streams cannot be shared out to so many ranks."""
    fitting = ", ".join(str(n) for n in range(1, many + 1) if many % n == 0)
    return ConfError(f"train.ranks must be one of {fitting}, so that each has as many of the {many} streams (got {ranks})")


def per_stream(batch_size: int) -> int:
    """Rows of each stream in a global batch (ConfError where they would not be as many)."""
    if batch_size % STREAMS:
        low = batch_size // STREAMS * STREAMS
        near = " or ".join(str(n) for n in (low, low + STREAMS) if n)
        raise ConfError(
            f"train.model.torch.loop.batch_size must be a multiple of {STREAMS}, the number of streams (got {batch_size}); take {near}"
        )
    return batch_size // STREAMS


def groups(files: Sequence[str]) -> list[Group]:
    """The row groups of Parquet files by path or URI, in the order of the least hash of a key that they have."""
    found = []
    for file in files:
        with _opened(file) as parquet:
            at = parquet.schema_arrow.names.index(ORDER)
            for i in range(parquet.num_row_groups):
                group = parquet.metadata.row_group(i)
                if group.num_rows:
                    found.append((group.column(at).statistics.min, Group(file, i, group.num_rows)))
    return [group for _, group in sorted(found)]


def batches(plan: Plan, rank: int, ranks: int, epoch: int, step: int = 0) -> Iterator[Batch]:
    """The batches of a rank from a step of an epoch on, read ahead by a thread."""
    parts = [_stream(plan, stream, epoch, step) for stream in plan.owned(rank, ranks)]
    return _ahead(_joined([next(part) for part in parts]) for _ in range(step, plan.steps))


def _joined(parts: list[Batch]) -> Batch:
    some: list[Any] = [np.concatenate(each) for each in zip(*(part[:4] for part in parts), strict=True)]
    keys = [part.keys for part in parts]
    return Batch(some[0], some[1], some[2], some[3], (sum(n for n, _ in keys), sum(total for _, total in keys) & _MASK))


def _stream(plan: Plan, stream: int, epoch: int, step: int) -> Iterator[Batch]:
    """Batches of a stream from a step on, the last one padded; then nothing but padding."""
    skip, held = step * plan.each, None
    for number, block in enumerate(plan.blocks(stream, epoch)):
        rows = sum(g.rows for g in block)
        if skip >= rows:
            skip -= rows
            continue
        read = _shuffled(plan, block, [plan.seed, epoch, stream, number]).after(skip)
        held, skip = read if held is None else held.and_then(read), 0
        while held.rows >= plan.each:
            yield held.batch(plan.each)
            held = held.after(plan.each)
    if held is not None and held.rows:
        yield held.batch(plan.each)
    empty = _Rows.none(plan.layout)
    while True:
        yield empty.batch(plan.each)


class _Rows(NamedTuple):
    """Rows of a stream in their order; `order` is the hash of the key."""

    indices: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.float32]
    label: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    order: npt.NDArray[np.int64]

    @classmethod
    def none(cls, layout: Layout) -> "_Rows":
        indices, numbers = layout.packed({name: np.zeros(0) for name in (*layout.indices, *layout.numbers)}, 0)
        nothing = np.zeros(0, np.float32)
        return cls(indices, numbers, nothing, nothing, np.zeros(0, np.int64))

    @property
    def rows(self) -> int:
        return len(self.order)

    def after(self, rows: int) -> "_Rows":
        arrays: Iterator[Any] = (array[rows:] for array in self)
        return _Rows(*arrays)

    def and_then(self, more: "_Rows") -> "_Rows":
        pairs: Iterator[Any] = zip(self, more, strict=True)
        arrays: Iterator[Any] = (np.concatenate(pair) for pair in pairs)
        return _Rows(*arrays)

    def batch(self, rows: int) -> Batch:
        taken: list[Any] = [array[:rows] for array in self]
        many = len(taken[4])
        if many < rows:
            taken = [np.concatenate([a, np.zeros((rows - many, *a.shape[1:]), a.dtype)]) for a in taken]
        keys = many, int(taken[4][:many].view(np.uint64).sum(dtype=np.uint64))
        return Batch(taken[0], taken[1], taken[2], taken[3], keys)


def _shuffled(plan: Plan, block: list[Group], seed: list[int]) -> _Rows:
    table = pa.concat_tables([_read(group) for group in block]).combine_chunks()
    order = np.random.default_rng(seed).permutation(table.num_rows)
    names = (*plan.layout.indices, *plan.layout.numbers)
    indices, numbers = plan.layout.packed({name: _flat(table[name]) for name in names}, table.num_rows)
    weight = table[WEIGHT].to_numpy() if WEIGHT in table.column_names else np.ones(table.num_rows)
    label = np.asarray(table[LABEL].to_numpy(zero_copy_only=False), np.float32)
    arrays: list[Any] = [indices, numbers, label, weight.astype(np.float32), table[ORDER].to_numpy()]
    return _Rows(*(array.take(order, axis=0) for array in arrays))


def _flat(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    whole = column.combine_chunks()
    whole = whole.flatten() if pa.types.is_list(whole.type) else whole
    return whole.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _read(group: Group) -> pa.Table:
    try:
        with _opened(group.file) as parquet:
            return parquet.read_row_group(group.number, use_threads=False)
    except FileNotFoundError as error:
        raise DataError(f"{group.file} is gone: VACUUM took the version that is trained on; run `train` again") from error


def _opened(file: str) -> pq.ParquetFile:
    system, path = pyarrow.fs.FileSystem.from_uri(file) if "://" in file or file.startswith("file:") else (None, file)
    return pq.ParquetFile(path, filesystem=system)


def _ahead(some: Iterator[Batch]) -> Iterator[Batch]:
    """The same, made by a thread that is a few ahead; it ends with whoever takes them."""
    waiting: Queue[Any] = Queue(AHEAD)
    done = threading.Event()

    def put(item: Any) -> None:
        while not done.is_set():
            with suppress(Full):
                waiting.put(item, timeout=0.1)
                break

    def work() -> None:
        try:
            for batch in some:
                put(batch)
                if done.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the batches are taken
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        done.set()
