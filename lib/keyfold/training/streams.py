"""Batches of each rank from the files of a pinned Delta version: every row once an epoch, in an order that `(seed, epoch)` decides.

The key of a row decides its stream. Each global batch takes the same share of each stream, and a rank owns whole streams; so the sequence
of global batches is the same for any number of ranks, and a rank reads its own files only.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from keyfold.core.arrays import single_chunk
from keyfold.core.names import LABEL, ORDER, WEIGHT
from keyfold.engine.store import odd_column_names
from keyfold.errors import ConfError, DataError
from keyfold.features.matrix import Layout

SHUFFLE_ROWS = 65_536  # rows that are shuffled together; a larger row group is not cut
SHUFFLE_CELLS = 2**24  # cells that are shuffled together, which allows fewer rows of many columns
AFTER = 3  # cells of a row after its label: weight and hash of the key
AHEAD = 4  # batches that are read at once, while the same number waits for the loop


def stored_name(feature: str) -> str:
    """The column of a feature: its name, encoded if Delta would store the column under another one."""
    return quote(feature) if odd_column_names([feature]) else feature


class RowGroup(NamedTuple):
    """A row group of a Parquet file."""

    file: str
    number: int
    rows: int


class Cells(NamedTuple):
    """Rows as cells of 4 bytes, int32 (rows, indices + numbers + label + 3): indices, float32 numbers, label, weight, hash of the key (two cells)."""

    cells: npt.NDArray[np.int32]
    first: int  # number of columns of indices
    label_cells: int = 1  # number of columns of the label

    @classmethod
    def empty(cls, rows: int, layout: Layout, label_cells: int = 1) -> "Cells":
        """Uninitialised memory for some rows."""
        first, numbers = layout.columns
        return cls(np.empty((rows, first + numbers + label_cells + AFTER), np.int32), first, label_cells)

    @property
    def features(self) -> npt.NDArray[np.int32]:
        """int32 (rows, indices + numbers)."""
        return self.cells[:, : -self.label_cells - AFTER]

    @property
    def indices(self) -> npt.NDArray[np.int32]:
        """int32 (rows, indices)."""
        return self.cells[:, : self.first]

    @property
    def numbers(self) -> npt.NDArray[np.float32]:
        """float32 (rows, numbers)."""
        return self.features[:, self.first :].view(np.float32)

    @property
    def label(self) -> npt.NDArray[np.float32]:
        """float32 (rows): a number, 0 or 1, or the code of a class or a band."""
        return self.label_bits[:, 0].view(np.float32)

    @property
    def label_bits(self) -> npt.NDArray[np.int32]:
        """int32 (rows, label_cells): several labels as bits."""
        return self.cells[:, -self.label_cells - AFTER : -AFTER]

    @property
    def weight(self) -> npt.NDArray[np.float32]:
        """float32 (rows); 0 for padding."""
        return self.cells[:, -3].view(np.float32)

    def weighted_by(self, classes: Sequence[float]) -> npt.NDArray[np.float32]:
        """The weights times those of the rows' classes, by code; without any, the weights. Those of an unknown class, -1, stay."""
        factors = np.array([*classes, 1], np.float32)  # -1 is the last one
        return self.weight * factors[self.label.astype(np.intp)] if classes else self.weight  # type: ignore[no-any-return]

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """int64 (rows): the hashes of the keys."""
        return self.cells[:, -2:].view(np.int64)[:, 0]

    def part(self, begin: int, end: int) -> "Cells":
        """The rows from `begin` to `end`, without a copy."""
        return self._replace(cells=self.cells[begin:end])


class StreamBatch(NamedTuple):
    """Rows of one rank, stream after stream; `keys`: number of rows without padding, and the sum of the hashes of their keys modulo 2^64."""

    rows: Cells
    keys: tuple[int, int]


class StreamPlan(NamedTuple):
    """The row groups of each stream, and how many rows a global batch takes of each stream at most."""

    streams: list[list[RowGroup]]
    layout: Layout
    seed: int
    each: int  # rows of a stream in a batch, at most
    block: int = SHUFFLE_ROWS
    label_cells: int = 1  # of a row

    @property
    def steps(self) -> int:
        """Number of global batches of an epoch."""
        return max(-(-sum(g.rows for g in groups) // self.each) for groups in self.streams)

    @property
    def rows(self) -> int:
        """Number of rows of an epoch."""
        return sum(g.rows for groups in self.streams for g in groups)

    def owned(self, rank: int, ranks: int) -> range:
        """The streams of a rank (ConfError if they cannot be divided evenly)."""
        if len(self.streams) % ranks:
            raise uneven_ranks(len(self.streams), ranks)
        each = len(self.streams) // ranks
        return range(rank * each, (rank + 1) * each)

    def blocks(self, stream: int, epoch: int) -> list[list[RowGroup]]:
        """The row groups of a stream in the order of an epoch, in blocks that are shuffled together."""
        groups = self.streams[stream]
        blocks: list[list[RowGroup]] = []
        for i in np.random.default_rng([self.seed, epoch, stream]).permutation(len(groups)):
            if not blocks or sum(g.rows for g in blocks[-1]) + groups[i].rows > self.block:
                blocks.append([])
            blocks[-1].append(groups[i])
        return blocks


def shuffle_rows(layout: Layout, label_cells: int = 1) -> int:
    """How many rows are shuffled together."""
    return max(1, min(SHUFFLE_ROWS, SHUFFLE_CELLS // (sum(layout.columns) + label_cells + AFTER)))


def uneven_ranks(streams: int, ranks: int) -> ConfError:
    """The error for a number of ranks that does not divide the number of streams."""
    divisors = ", ".join(str(n) for n in range(1, streams + 1) if streams % n == 0)
    return ConfError(f"train.ranks must be one of {divisors}, so that each has as many of the {streams} streams (got {ranks})")


def row_groups(files: Sequence[str]) -> list[RowGroup]:
    """The row groups of Parquet files (paths or URIs), ordered by their lowest hash of a key."""
    groups = []
    for file in files:
        with _open_parquet(file) as parquet:
            column = parquet.schema_arrow.names.index(ORDER)
            for i in range(parquet.num_row_groups):
                group = parquet.metadata.row_group(i)
                if group.num_rows:
                    groups.append((group.column(column).statistics.min, RowGroup(file, i, group.num_rows)))
    return [group for _, group in sorted(groups)]


class Reader:
    """The batches of a rank, one epoch at a time. The memory of blocks is reused, since to allocate it costs more than to fill it."""

    def __init__(self, plan: StreamPlan, rank: int, ranks: int) -> None:
        self._plan = plan
        self._streams = [_Stream(plan, stream) for stream in plan.owned(rank, ranks)]

    def batches(self, epoch: int, step: int = 0) -> Iterator[StreamBatch]:
        """The batches of an epoch from a step on; a thread reads ahead."""
        for stream in self._streams:
            stream.begin(epoch, step)
        return _read_ahead(self._next() for _ in range(step, self._plan.steps))

    def _next(self) -> StreamBatch:
        """The next rows of each stream, one after another, each padded to the same number."""
        each = self._plan.each
        rows = Cells.empty(len(self._streams) * each, self._plan.layout, self._plan.label_cells)
        count = sum(stream.fill(rows.cells[i * each : (i + 1) * each]) for i, stream in enumerate(self._streams))
        return StreamBatch(rows, (count, int(rows.order.view(np.uint64).sum(dtype=np.uint64))))  # the order of padding is 0


class _Stream:
    """The rows of a stream in the order of an epoch; each row is copied once, from its block into the batch.

    Rows are spread evenly over the batches: a last batch of a few rows would move the parameters as much as a full one.
    """

    def __init__(self, plan: StreamPlan, stream: int) -> None:
        self._plan, self._stream = plan, stream
        self._count, self._steps = sum(g.rows for g in plan.streams[stream]), max(1, plan.steps)
        self._block = Cells.empty(0, plan.layout, plan.label_cells)

    def begin(self, epoch: int, step: int) -> None:
        """Moves to a step of an epoch."""
        self._seed, self._step, self._skip = [self._plan.seed, epoch, self._stream], step, self._rows_before(step)
        self._blocks = enumerate(self._plan.blocks(self._stream, epoch))
        self._rows: npt.NDArray[np.int64] = np.zeros(0, np.int64)  # the remaining rows of the block, in order

    def _rows_before(self, step: int) -> int:
        """Number of rows of an epoch before a step."""
        return step * self._count // self._steps

    def fill(self, into: npt.NDArray[np.int32]) -> int:
        """Writes the cells of the next rows, then padding; the number of rows without padding."""
        filled, rows = 0, self._rows_before(self._step + 1) - self._rows_before(self._step)
        self._step += 1
        while filled < rows and (len(self._rows) or self._next()):
            rows_taken, self._rows = self._rows[: rows - filled], self._rows[rows - filled :]
            # All rows are in range; with "raise" NumPy would make another copy.
            self._block.cells.take(rows_taken, 0, into[filled : filled + len(rows_taken)], "clip")
            filled += len(rows_taken)
        into[filled:] = 0
        return filled

    def _next(self) -> bool:
        """Reads the next block that is not skipped; False if there is none."""
        for number, groups in self._blocks:
            rows = sum(g.rows for g in groups)
            if self._skip < rows:
                self._read(groups, rows)
                self._rows = np.random.default_rng([*self._seed, number]).permutation(rows)[self._skip :]
                self._skip = 0
                return True
            self._skip -= rows
        return False

    def _read(self, groups: list[RowGroup], rows: int) -> None:
        """Reads a block into the memory of the former one."""
        layout, begin = self._plan.layout, 0
        if rows > len(self._block.cells):
            self._block = Cells.empty(rows, layout, self._plan.label_cells)
        for file, of_file in itertools.groupby(groups, key=lambda g: g.file):
            with _open_parquet(file) as parquet:
                for group in of_file:
                    into = self._block.part(begin, begin := begin + group.rows)
                    table = parquet.read_row_group(group.number, use_threads=False)
                    layout.pack({name: _flat(table[stored_name(name)]) for name in layout.names}, into.indices, into.numbers)
                    label = _flat(table[LABEL])
                    if pa.types.is_list(table[LABEL].type):
                        into.label_bits[:] = label.reshape(group.rows, -1)
                    else:
                        into.label[:] = label
                    into.weight[:] = _flat(table[WEIGHT]) if WEIGHT in table.column_names else 1
                    into.order[:] = _flat(table[ORDER])


def _flat(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    whole = single_chunk(column)
    whole = whole.flatten() if pa.types.is_list(whole.type) else whole
    return whole.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _open_parquet(file: str) -> pq.ParquetFile:
    """Opens a file (DataError if it was deleted)."""
    system, path = pyarrow.fs.FileSystem.from_uri(file) if "://" in file else (None, file)
    try:
        return pq.ParquetFile(path, filesystem=system)
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing: VACUUM has deleted the version that is trained on; run `train` again") from error


def _read_ahead(batches: Iterator[StreamBatch]) -> Iterator[StreamBatch]:
    """The same batches, read by a thread that ends when the consumer does.

    They are handed over a few at once, because each handover has a cost.
    """
    thread = ThreadPoolExecutor(1)

    def read() -> Future[list[StreamBatch]]:
        return thread.submit(lambda: list(itertools.islice(batches, AHEAD)))

    try:
        reading, waiting = read(), read()
        while few := reading.result():
            reading, waiting = waiting, read()
            yield from few
    finally:
        thread.shutdown(cancel_futures=True)
