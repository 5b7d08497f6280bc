"""What the last layer of a network has for a label: its units, the cells of the label in a row, and how outputs become numbers."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Bools, Doubles
from keyfold.labels import Bands, Binary, Classes, Label, Multilabel, Number
from keyfold.models.probabilities import sigmoid, softmax

CELL_BITS = 32


class Head(NamedTuple):
    """The last layer of a network. kind: that of the label; units: numbers that the layer gives for a row.

    Classes and bands have a softmax, labels a sigmoid each. Bands do not share one shape of distribution, as in models of cumulative
    logits, so the width of an interval follows from the features.
    """

    kind: str = Binary.kind
    units: int = 1

    @classmethod
    def of(cls, label: Label) -> "Head":
        """The head for a label."""
        return cls(label.kind, label.width)

    @property
    def excludes(self) -> bool:
        """Whether each row has exactly one of the k classes or bands of the units."""
        return self.kind in (Classes.kind, Bands.kind)

    @property
    def label_cells(self) -> int:
        """Cells of 4 bytes that a row's label takes: a number or a code is one, several labels are a bit each."""
        return -(-self.units // CELL_BITS) if self.kind == Multilabel.kind else 1

    def numbers(self, label: Label, outputs: Doubles) -> Doubles:
        """Outputs of n rows, (n,) or (n, units), as numbers of the label."""
        if isinstance(label, Number):
            return label.inverted(outputs)
        if self.excludes:
            return softmax(outputs.reshape(-1, self.units))
        return sigmoid(outputs if self.kind == Binary.kind else outputs.reshape(-1, self.units))


def pack_bits(has: Bools) -> npt.NDArray[np.int32]:
    """Booleans (n, k) as bits of int32 (n, ⌈k / 32⌉), the first one lowest."""
    packed = np.packbits(has, axis=1, bitorder="little")
    cells = np.zeros((len(has), -(-has.shape[1] // CELL_BITS)), "<i4")
    cells.view(np.uint8)[:, : packed.shape[1]] = packed
    return cells


def unpack_bits(cells: npt.NDArray[np.int32], k: int) -> npt.NDArray[np.uint8]:
    """The first k bits of int32 (n, cells) as 0 or 1 (n, k)."""
    return np.unpackbits(np.ascontiguousarray(cells).view(np.uint8), axis=1, count=k, bitorder="little")
