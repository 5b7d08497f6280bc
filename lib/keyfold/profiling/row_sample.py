"""A sample of rows of bounded size from a stream of blocks."""

import pyarrow as pa

from keyfold.profiling.column_profile import Block

SAMPLE_ROWS = 20_000  # kept at least, if there are as many


class RowSample:
    """Evenly spaced rows of all blocks, between `SAMPLE_ROWS` and twice as many."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._every, self._read, self.rows = 1, 0, 0

    def add(self, block: Block) -> None:
        """Adds every n-th row of a block."""
        rows = len(next(iter(block.values()), ()))
        self._keep(block, range(-self._read % self._every, rows, self._every))
        self._read += rows
        if self.rows > 2 * SAMPLE_ROWS:
            blocks, self._blocks, self.rows = self._blocks, [], 0
            places = 0
            for kept in blocks:
                n = len(next(iter(kept.values()), ()))
                self._keep(kept, range(places % 2, n, 2))
                places += n
            self._every *= 2

    def _keep(self, block: Block, places: range) -> None:
        if len(places):
            self._blocks.append({name: values.take(pa.array(places)) for name, values in block.items()})
            self.rows += len(places)

    def column(self, name: str) -> pa.Array:
        """A column of the sample; text if its type differs between blocks."""
        sizes = [len(next(iter(block.values()))) for block in self._blocks]
        parts = [block.get(name, pa.nulls(n)) for block, n in zip(self._blocks, sizes, strict=True)]
        kinds = {values.type for values in parts if not pa.types.is_null(values.type)}
        kind = kinds.pop() if len(kinds) == 1 else pa.string()
        return pa.concat_arrays([values.cast(kind) for values in parts]) if parts else pa.nulls(0, kind)
