"""Counts missing keys, and repeated ones in all rows, within a period or within a file."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core.hashing import feature_hash, value_hash
from keyfold.profiling.column_profile import Block, ColumnProfile

CONTENT_KEY = "content"  # the key option for tables without a key
PERIODS = {"day": 10, "month": 7}  # by the first characters of an ISO time


class KeyCounts:
    """Missing and repeated keys by 64-bit hash; keeps a hash, the time as text and the file of each row."""

    def __init__(self, key: list[str], time: str | None, label: str) -> None:
        self.key, self.time, self.label = key, time, label
        self.clear()

    def clear(self) -> None:
        """Forgets all blocks."""
        self.missing = 0
        self._hashes: list[npt.NDArray[np.uint64]] = []
        self._series: list[npt.NDArray[np.uint64]] = []
        self._times: list[pa.Array] = []
        self._labelled: list[npt.NDArray[np.bool_]] = []
        self._files: list[npt.NDArray[np.int32]] = []

    def add(self, block: Block, file: int) -> None:
        """Adds the keys of a block."""
        if self.key == [CONTENT_KEY] and CONTENT_KEY not in block:
            self.key = []
        rows = len(next(iter(block.values()), ()))
        none = pa.nulls(rows, pa.string())
        texts = {name: block.get(name, none).cast(pa.string()) for name in dict.fromkeys([*self.key, *filter(None, [self.time])])}
        sound = np.ones(rows, bool)
        for values in texts.values():
            sound &= values.is_valid().to_numpy(zero_copy_only=False)
        texts = {name: values.filter(pa.array(sound)) for name, values in texts.items()}
        kept = int(sound.sum())
        self.missing += rows - kept
        for kept_hashes, names in ((self._hashes, self.key), (self._series, [name for name in self.key if name != self.time])):
            hashes = [value_hash(texts[name]) for name in names] or [np.zeros(kept, np.int64)]
            kept_hashes.append(feature_hash("", hashes).view(np.uint64))
        if self.time:
            self._times.append(texts[self.time])
        labelled = block.get(self.label, none).is_valid().to_numpy(zero_copy_only=False)
        self._labelled.append(labelled[sound])
        self._files.append(np.full(kept, file, np.int32))

    def hashes(self) -> npt.NDArray[np.uint64]:
        """Hashes of the keys that are not missing."""
        return np.concatenate(self._hashes)

    def repeated(self, within: npt.NDArray[np.object_] | None = None) -> int:
        """Number of rows that share their key with another row (of the same period)."""
        return self._repeats(self.hashes(), within)

    def repeated_in_files(self) -> int:
        """Number of rows that share their key with another row of their file."""
        return self._repeats(self.hashes(), np.concatenate(self._files))

    def series(self) -> int:
        """Number of distinct keys without the time."""
        return len(np.unique(np.concatenate(self._series)))

    def times(self, column: ColumnProfile) -> npt.NDArray[np.object_]:
        """Times of the rows as ISO text."""
        return np.asarray(column.iso(pa.concat_arrays(self._times)).to_numpy(zero_copy_only=False), object)

    def labelled(self) -> npt.NDArray[np.bool_]:
        """Whether each row has a label."""
        return np.concatenate(self._labelled)

    @staticmethod
    def _repeats(hashes: npt.NDArray[np.uint64], within: npt.NDArray[np.generic] | None) -> int:
        if within is not None:
            _, codes = np.unique(within, return_inverse=True)
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes.astype(np.uint64)
        counts = np.unique(hashes, return_counts=True)[1]
        return int(counts[counts > 1].sum())
