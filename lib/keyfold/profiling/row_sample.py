"""A sample of rows, of bounded size, from blocks that come one after the other."""

import pyarrow as pa

from keyfold.profiling.column_profile import Block

SAMPLE_ROWS = 20_000  # rows that are kept at least, where there are so many


class RowSample:
    """Rows from all over what was read, `SAMPLE` to twice as many, once there are as many."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._every, self._seen, self.rows = 1, 0, 0

    def add(self, block: Block) -> None:
        """Take in every so many-th row."""
        rows = len(next(iter(block.values()), ()))
        self._keep(block, range(-self._seen % self._every, rows, self._every))
        self._seen += rows
        if self.rows > 2 * SAMPLE_ROWS:
            blocks, self._blocks, self.rows = self._blocks, [], 0
            places = 0
            for some in blocks:
                n = len(next(iter(some.values()), ()))
                self._keep(some, range(places % 2, n, 2))
                places += n
            self._every *= 2

    def _keep(self, block: Block, places: range) -> None:
        if len(places):
            self._blocks.append({name: values.take(pa.array(places)) for name, values in block.items()})
            self.rows += len(places)

    def column(self, name: str) -> pa.Array:
        """A column of the sample; as text where blocks have it in several types."""
        sizes = [len(next(iter(block.values()))) for block in self._blocks]
        found = [block.get(name, pa.nulls(n)) for block, n in zip(self._blocks, sizes, strict=True)]
        kinds = {values.type for values in found if not pa.types.is_null(values.type)}
        kind = kinds.pop() if len(kinds) == 1 else pa.string()
        return pa.concat_arrays([values.cast(kind) for values in found]) if found else pa.nulls(0, kind)
