"""From the files of a pinned Delta version to the batches of each rank: every row once an epoch, in an order that `(seed, epoch)` decides.

Which of the streams a row is in follows from its key. Each global batch takes the same share of each stream, and a rank owns whole streams;
so the sequence of global batches is the same for any number of ranks, and a rank reads nothing but its own files.
"""

import itertools
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

from keyfold.core.names import LABEL, ORDER, WEIGHT
from keyfold.errors import ConfError, DataError
from keyfold.features.matrix import Layout

SHUFFLE_ROWS = 65_536  # rows that are shuffled together, but for larger row groups,
SHUFFLE_CELLS = 2**24  # and fewer where a row has many columns
AHEAD = 4  # batches that are made together while as many wait for the loop


class RowGroup(NamedTuple):
    """A row group of a file."""

    file: str
    number: int
    rows: int


class Cells(NamedTuple):
    """Rows as cells of 4 bytes, int32 (rows, indices + numbers + 4): float32 from the numbers on, then label, weight and the hash of the key."""

    cells: npt.NDArray[np.int32]
    first: int  # columns of indices

    @classmethod
    def empty(cls, rows: int, layout: Layout) -> "Cells":
        """Memory for so many rows."""
        first, numbers = layout.columns
        return cls(np.empty((rows, first + numbers + 4), np.int32), first)

    @property
    def indices(self) -> npt.NDArray[np.int32]:
        """int32 (rows, indices)."""
        return self.cells[:, : self.first]

    @property
    def numbers(self) -> npt.NDArray[np.float32]:
        """float32 (rows, numbers)."""
        return self.cells[:, self.first : -4].view(np.float32)

    @property
    def label(self) -> npt.NDArray[np.float32]:
        """float32 of the rows."""
        return self.cells[:, -4].view(np.float32)

    @property
    def weight(self) -> npt.NDArray[np.float32]:
        """float32 of the rows; padding has 0."""
        return self.cells[:, -3].view(np.float32)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The hashes of the keys."""
        return self.cells[:, -2:].view(np.int64)[:, 0]

    def part(self, begin: int, end: int) -> "Cells":
        """Some of the rows."""
        return Cells(self.cells[begin:end], self.first)


class StreamBatch(NamedTuple):
    """Rows of one rank, stream after stream; `keys`: how many are no padding, and the sum of the hashes of their keys, modulo 2^64."""

    rows: Cells
    keys: tuple[int, int]


class StreamPlan(NamedTuple):
    """The row groups of each stream, and what a global batch takes of it at most."""

    streams: list[list[RowGroup]]
    layout: Layout
    seed: int
    each: int  # rows of a stream in a batch
    block: int = SHUFFLE_ROWS

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
            raise uneven_ranks(len(self.streams), ranks)
        many = len(self.streams) // ranks
        return range(rank * many, (rank + 1) * many)

    def blocks(self, stream: int, epoch: int) -> list[list[RowGroup]]:
        """The row groups of a stream in the order of an epoch, together as they are shuffled."""
        groups = self.streams[stream]
        made: list[list[RowGroup]] = []
        for i in np.random.default_rng([self.seed, epoch, stream]).permutation(len(groups)):
            if not made or sum(g.rows for g in made[-1]) + groups[i].rows > self.block:
                made.append([])
            made[-1].append(groups[i])
        return made


def shuffle_rows(layout: Layout) -> int:
    """Rows that are shuffled together."""
    return max(1, min(SHUFFLE_ROWS, SHUFFLE_CELLS // (sum(layout.columns) + 4)))


def uneven_ranks(many: int, ranks: int) -> ConfError:
    """That so many streams cannot be shared out to so many ranks."""
    fitting = ", ".join(str(n) for n in range(1, many + 1) if many % n == 0)
    return ConfError(f"train.ranks must be one of {fitting}, so that each has as many of the {many} streams (got {ranks})")


def row_groups(files: Sequence[str]) -> list[RowGroup]:
    """The row groups of Parquet files by path or URI, in the order of the least hash of a key that they have."""
    found = []
    for file in files:
        with _opened(file) as parquet:
            at = parquet.schema_arrow.names.index(ORDER)
            for i in range(parquet.num_row_groups):
                group = parquet.metadata.row_group(i)
                if group.num_rows:
                    found.append((group.column(at).statistics.min, RowGroup(file, i, group.num_rows)))
    return [group for _, group in sorted(found)]


class Reader:
    """The batches of a rank, of one epoch at a time. Blocks stay in memory that is had once, for that costs more than to fill it."""

    def __init__(self, plan: StreamPlan, rank: int, ranks: int) -> None:
        self._plan = plan
        self._streams = [_Stream(plan, stream) for stream in plan.owned(rank, ranks)]

    def batches(self, epoch: int, step: int = 0) -> Iterator[StreamBatch]:
        """From a step of an epoch on, read ahead by a thread."""
        for stream in self._streams:
            stream.begin(epoch, step)
        return _ahead(self._next() for _ in range(step, self._plan.steps))

    def _next(self) -> StreamBatch:
        """The rows of each stream, one after another, each filled up with padding."""
        each = self._plan.each
        rows = Cells.empty(len(self._streams) * each, self._plan.layout)
        count = sum(stream.fill(rows.cells[i * each : (i + 1) * each]) for i, stream in enumerate(self._streams))
        return StreamBatch(rows, (count, int(rows.order.view(np.uint64).sum(dtype=np.uint64))))  # of padding the order is 0


class _Stream:
    """The rows of a stream in the order of an epoch; each is copied once, from its block to where it is wanted.

    They are spread evenly over the batches, for a last batch of a few rows would move the parameters as much as a whole one.
    """

    def __init__(self, plan: StreamPlan, stream: int) -> None:
        self._plan, self._stream = plan, stream
        self._many, self._steps = sum(g.rows for g in plan.streams[stream]), max(1, plan.steps)
        self._block = Cells.empty(0, plan.layout)

    def begin(self, epoch: int, step: int) -> None:
        """At a step of an epoch."""
        self._seed, self._step, self._skip = [self._plan.seed, epoch, self._stream], step, self._before(step)
        self._left = enumerate(self._plan.blocks(self._stream, epoch))
        self._rows: npt.NDArray[np.int64] = np.zeros(0, np.int64)  # of the block, those that are next

    def _before(self, step: int) -> int:
        """How many rows of an epoch come before a step."""
        return step * self._many // self._steps

    def fill(self, into: npt.NDArray[np.int32]) -> int:
        """Writes the cells of the next rows, and padding behind the last; says how many rows there were."""
        at, rows = 0, self._before(self._step + 1) - self._before(self._step)
        self._step += 1
        while at < rows and (len(self._rows) or self._next()):
            now, self._rows = self._rows[: rows - at], self._rows[rows - at :]
            self._block.cells.take(now, 0, into[at : at + len(now)], "clip")  # all are in range, and "raise" would copy once more
            at += len(now)
        into[at:] = 0
        return at

    def _next(self) -> bool:
        """Has the next block that is not skipped, if there is one."""
        for number, groups in self._left:
            rows = sum(g.rows for g in groups)
            if self._skip < rows:
                self._read(groups, rows)
                self._rows = np.random.default_rng([*self._seed, number]).permutation(rows)[self._skip :]
                self._skip = 0
                return True
            self._skip -= rows
        return False

    def _read(self, groups: list[RowGroup], rows: int) -> None:
        """Where the block before was."""
        layout, begin = self._plan.layout, 0
        if rows > len(self._block.cells):
            self._block = Cells.empty(rows, layout)
        for file, some in itertools.groupby(groups, key=lambda g: g.file):
            with _opened(file) as parquet:
                for group in some:
                    into = self._block.part(begin, begin := begin + group.rows)
                    table = parquet.read_row_group(group.number, use_threads=False)
                    layout.pack({name: _flat(table[name]) for name in layout.names}, into.indices, into.numbers)
                    into.label[:] = _flat(table[LABEL])
                    into.weight[:] = _flat(table[WEIGHT]) if WEIGHT in table.column_names else 1
                    into.order[:] = _flat(table[ORDER])


def _flat(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    whole = whole.flatten() if pa.types.is_list(whole.type) else whole
    return whole.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _opened(file: str) -> pq.ParquetFile:
    """DataError where it is not there."""
    system, path = pyarrow.fs.FileSystem.from_uri(file) if "://" in file or file.startswith("file:") else (None, file)
    try:
        return pq.ParquetFile(path, filesystem=system)
    except FileNotFoundError as error:
        raise DataError(f"{file} is gone: VACUUM took the version that is trained on; run `train` again") from error


def _ahead(some: Iterator[StreamBatch]) -> Iterator[StreamBatch]:
    """The same, made by a thread that is ahead; it ends with whoever takes them. They are handed over a few at once, for each time costs."""
    waiting: Queue[Any] = Queue(1)
    done = threading.Event()

    def put(item: Any) -> None:
        while not done.is_set():
            with suppress(Full):
                waiting.put(item, timeout=0.1)
                break

    def work() -> None:
        try:
            while few := list(itertools.islice(some, AHEAD)):
                put(few)
                if done.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the batches are taken
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield from item
    finally:
        done.set()
        thread.join()
